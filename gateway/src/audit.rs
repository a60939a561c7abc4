//! A line of the audit as JSON, for the API and for whoever checks what the API gave: both make it of the same bytes.
//!
//! ```json
//! {"n": 3, "hash": "5f0c...", "digest": "91ab...", "at": "2026-11-21T09:30:00.000Z", "by": "default/ada",
//!  "tenant": "default", "action": "policy-put", "subject": "night", "reason": "ticket 7",
//!  "details": {"effect": "deny"}, "entry": "hQAB..."}
//! ```
//!
//! `entry` are the canonical bytes (CBOR, base64url) whose SHA-256 is `digest`; the rest says what is in them. Of an
//! entry that is not for the reader only `n`, `hash` and `digest` are shown, so that the chain can be checked.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use runtime::access::Verb;
use runtime::directory::audit::{Fingerprint, Line};
use runtime::directory::{Change, Count, Entry, Failures, Role, Roles, Trust};
use serde_json::{Map, Value, json};

/// Why a text is no line of an audit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotALine {
    /// It is not JSON, or a member is missing or of another form.
    #[error("it is no line of an audit: {0}")]
    Malformed(String),
    /// What it says is not what its bytes say.
    #[error("entry {0} was changed: its `{1}` is not what its bytes say")]
    Altered(u64, String),
}

/// A line as it is shown.
pub fn show(line: &Line) -> Value {
    let mut shown = Map::new();
    let Line { n, digest, hash, entry } = line;
    shown.insert("n".into(), json!(n));
    shown.insert("hash".into(), json!(hash.to_string()));
    shown.insert("digest".into(), json!(digest.to_string()));
    let Some(bytes) = entry else { return shown.into() };
    if let Ok(Entry { at, by, reason, tenant, change }) = minicbor::decode(bytes) {
        shown.insert("at".into(), json!(at.to_string()));
        shown.insert("by".into(), json!(by.to_string()));
        shown.insert("tenant".into(), json!(tenant));
        shown.insert("action".into(), json!(change.action()));
        shown.insert("subject".into(), json!(change.subject()));
        shown.insert("reason".into(), json!(reason));
        shown.insert("details".into(), details(&change));
    }
    shown.insert("entry".into(), json!(BASE64_URL_SAFE_NO_PAD.encode(bytes)));
    shown.into()
}

/// Reads a line, and checks that it says what its bytes say.
///
/// # Errors
/// Why it is none.
pub fn read(text: &str) -> Result<Line, NotALine> {
    let shown: Value = serde_json::from_str(text).map_err(|error| NotALine::Malformed(error.to_string()))?;
    let missing = |member: &str| NotALine::Malformed(format!("`{member}` is missing, or of another form"));
    let n = shown["n"].as_u64().ok_or_else(|| missing("n"))?;
    let hash = |member: &str| shown[member].as_str().and_then(fingerprint).ok_or_else(|| missing(member));
    let entry = match shown.get("entry") {
        None => None,
        Some(entry) => {
            let bytes = entry.as_str().and_then(|entry| BASE64_URL_SAFE_NO_PAD.decode(entry).ok());
            Some(bytes.ok_or_else(|| missing("entry"))?)
        }
    };
    let line = Line { n, digest: hash("digest")?, hash: hash("hash")?, entry };
    let (said, meant) = (shown.as_object(), show(&line));
    let meant = meant.as_object().into_iter().flatten();
    let altered =
        meant.clone().find(|(member, value)| said.and_then(|said| said.get(*member)) != Some(value));
    let added =
        || said.into_iter().flatten().find(|(member, _)| !meant.clone().any(|(known, _)| known == *member));
    match altered.or_else(added) {
        Some((member, _)) => Err(NotALine::Altered(n, member.clone())),
        None => Ok(line),
    }
}

/// Reads sixty-four hexadecimal digits.
pub fn fingerprint(text: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Fingerprint(bytes))
}

/// What a change says beside what it is about; secrets are in none.
fn details(change: &Change) -> Value {
    match change {
        Change::AddTenant { admin, token, expires, .. }
        | Change::AdmitAdmin { admin, token, expires, .. } => {
            json!({"admin": **admin, "token": token.to_string(), "expires": expires.to_string()})
        }
        Change::PutPrincipal { roles: granted, disabled, .. } => {
            json!({"roles": granted.map(roles), "disabled": disabled})
        }
        Change::AddToken { owner, scope, expires, .. } => {
            json!({"owner": **owner, "roles": scope.map(roles), "expires": expires.to_string()})
        }
        Change::PutPolicy { policy, .. } => json!({
            "effect": policy.effect.as_str(),
            "who": policy.who.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "devices": policy.devices.as_str(),
            "path": policy.path.as_str(),
            "verbs": policy.verbs.iter().map(Verb::as_str).collect::<Vec<_>>(),
        }),
        Change::PutGroup { group, .. } => json!({
            "kind": *group.template.kind,
            "trust": match &group.trust {
                Trust::Key { issue, .. } => format!("key {issue}"),
                Trust::Authority { certificates } => format!("{} certificates", certificates.len()),
            },
            "registers": group.registers,
            "disabled": group.disabled,
            "barred": group.barred.map(|barred| barred.to_string()),
        }),
        Change::PutAuthority { authority, .. } => {
            json!({"certificates": authority.certificates.len(), "retired": authority.retired})
        }
        Change::LimitTenant { limits } => {
            let said = limits.named().into_iter().filter_map(|(name, limit)| Some((name, limit?)));
            said.map(|(name, limit)| (name.to_owned(), json!(limit))).collect::<Map<_, _>>().into()
        }
        Change::NoteFailures { failures } => {
            let Failures { since, credentials, activation_keys, unseen, elsewhere, others, .. } = &**failures;
            json!({
                "since": since.to_string(),
                "credentials": credentials,
                "activation_keys": activation_keys,
                "unseen": unseen,
                "addresses": counts(&failures.addresses),
                "elsewhere": elsewhere,
                "devices": counts(&failures.devices),
                "others": others,
            })
        }
        Change::ShowKey { device, .. } => json!({"device": **device}),
        Change::OrderCluster { .. }
        | Change::SetTenant { .. }
        | Change::RemoveTenant
        | Change::RemovePrincipal { .. }
        | Change::RemoveToken { .. }
        | Change::ExposeToken { .. }
        | Change::RemovePolicy { .. }
        | Change::RemoveGroup { .. }
        | Change::RemoveAuthority { .. } => json!({}),
    }
}

fn counts(counts: &[Count]) -> Vec<Value> {
    counts.iter().map(|Count { of, n }| json!({"of": **of, "n": n})).collect()
}

fn roles(roles: Roles) -> Vec<&'static str> {
    roles.iter().map(Role::as_str).collect()
}

#[cfg(test)]
mod tests {
    use runtime::directory::audit::Chain;
    use runtime::directory::{By, Directory, Sort};
    use twins::name::Name;
    use twins::time::Timestamp;

    use super::*;

    fn line() -> Line {
        let (name, roles) = (Name::fixed("ada"), Roles::from_iter([Role::Admin]));
        let change =
            Change::PutPrincipal { name, sort: Sort::User, roles: Some(roles), disabled: Some(false) };
        let (at, tenant) = (Timestamp::from_millis(60_000), "default".to_owned());
        let entry = Entry { at, by: By::Folder, reason: Some("first".into()), tenant, change };
        Directory::default().line(&entry)
    }

    #[test]
    fn a_line_is_read_as_it_was_shown() {
        let shown = show(&line());

        assert_eq!(
            (&shown["at"], &shown["action"]),
            (&"1970-01-01T00:01:00.000Z".into(), &"user-put".into())
        );
        assert_eq!(shown["details"], json!({"roles": ["admin"], "disabled": false}));
        let read = read(&shown.to_string()).unwrap();
        assert_eq!(read, line());
        assert_eq!(read.follow(&mut Chain::NEW.clone()), Ok(()));
    }

    #[test]
    fn a_line_that_does_not_say_what_its_bytes_say_is_found() {
        for (member, value) in [("by", json!("default/bob")), ("reason", json!(null)), ("note", json!("x"))] {
            let mut shown = show(&line());
            shown[member] = value;
            assert_eq!(read(&shown.to_string()), Err(NotALine::Altered(1, member.into())));
        }
        let mut cut = show(&line());
        cut.as_object_mut().unwrap().remove("by");
        assert_eq!(read(&cut.to_string()), Err(NotALine::Altered(1, "by".into())));
        assert!(matches!(read("{}"), Err(NotALine::Malformed(_))));
    }
}
