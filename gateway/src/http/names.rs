//! Words of the directory as bodies have them: each is read with an error that names those that there are.

use actix_web::http::StatusCode;
use runtime::access::Verb;
use runtime::directory::{Refused, Role, Roles, Verbs};
use serde::Deserialize;
use twins::name::Name;

use super::etag::IfMatch;
use super::problem::Problem;

/// A role by its name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RoleName(Role);

/// A verb by its name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct VerbName(pub(super) Verb);

impl TryFrom<String> for RoleName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = || unknown(&name, Role::ALL.map(Role::as_str));
        Role::parse(&name).map(Self).ok_or_else(known)
    }
}

impl TryFrom<String> for VerbName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = || unknown(&name, Verb::ALL.map(Verb::as_str));
        Verb::parse(&name).map(Self).ok_or_else(known)
    }
}

fn unknown<const N: usize>(name: &str, known: [&str; N]) -> String {
    let name: String = name.chars().take(40).collect();
    format!("`{}` is none of {}", name.escape_debug(), known.join(", "))
}

pub(super) fn roles(names: &[RoleName]) -> Roles {
    names.iter().map(|RoleName(role)| *role).collect()
}

pub(super) fn verbs(names: &[VerbName]) -> Verbs {
    names.iter().map(|VerbName(verb)| *verb).collect()
}

pub(super) fn shown_roles(roles: Roles) -> Vec<&'static str> {
    roles.iter().map(Role::as_str).collect()
}

/// The name in a path. One that cannot be a name is of nothing that there is.
pub(super) fn named(what: &str, name: &str) -> Result<Name, Problem> {
    Ok(runtime::directory::check_name(what, name)?)
}

/// The version of the directory as an entity tag: it covers all definitions of the node.
pub(super) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version that a change is made for, if it is made for one.
pub(super) fn expected(IfMatch(tags): IfMatch, current: u64) -> Result<Option<u64>, Problem> {
    let Some(tags) = tags else { return Ok(None) };
    if tags.iter().any(|tag| tag == "*") {
        return Ok(None);
    }
    if tags.contains(&etag(current)) {
        return Ok(Some(current));
    }
    match tags.iter().find_map(|tag| tag.trim_matches('"').parse().ok()) {
        Some(expected) => Err(Refused::Stale { expected, current }.into()),
        None => {
            let why = format!("`If-Match` names no version; the directory has version {current}");
            let next = "send the `ETag` that you read, as it is, or leave it out";
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", why, next))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_refused_with_the_known_ones() {
        let refused = RoleName::try_from("root".to_owned()).unwrap_err();
        assert_eq!(refused, "`root` is none of viewer, operator, installer, security, admin");
        assert!(VerbName::try_from("own".to_owned()).unwrap_err().contains("none of read, speak"));
    }

    #[test]
    fn a_change_made_for_another_version_or_for_none_that_can_be_read_is_refused() {
        let tags = |tags: &[&str]| IfMatch(Some(tags.iter().map(|&tag| tag.to_owned()).collect()));
        assert_eq!(expected(IfMatch(None), 7).unwrap(), None);
        assert_eq!(expected(tags(&["\"6\"", "\"7\""]), 7).unwrap(), Some(7));
        assert_eq!(expected(tags(&["*"]), 7).unwrap(), None);
        for (tags, why) in [
            (tags(&["\"6\""]), "the directory has version 7, not 6"),
            (tags(&[]), "`If-Match` names no version"),
            (tags(&["\"six\""]), "`If-Match` names no version"),
        ] {
            let refused = expected(tags, 7).unwrap_err();
            assert_eq!(refused.code(), "version-mismatch");
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
}
