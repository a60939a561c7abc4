//! Whether whoever asked for a change may still have it when it is made: while it waited for its turn, they may have been
//! shut out, or have lost the right.
//!
//! The API asks before it proposes a change; this is asked again where the change is made, of the directory that it is
//! made on, so that nothing comes between.

use twins::id::DEFAULT_TENANT;
use twins::name::Name;

use super::verdict::{Because, Who};
use super::{By, Change, Directory, Entry, Refused, Token};
use crate::access::Verb;

impl Directory {
    pub(super) fn entitled(&self, entry: &Entry) -> Result<(), Refused> {
        let By::Principal { tenant, name, token: Some(token) } = &entry.by else { return Ok(()) };
        let shut = || Refused::Shut(format!("token {token} of `{name}` lets nobody in any more"));
        let is_theirs =
            |shown: &&Token| shown.tenant == *tenant && shown.owner == *name && entry.at < shown.expires;
        let shown = self.tokens.get(token).map(|shown| &**shown).filter(is_theirs).ok_or_else(shut)?;
        let who = Who { tenant, name, scope: shown.scope };
        let administers = self.governs(who, Verb::Administer);
        if administers.because.contains(&Because::Absent) {
            return Err(shut());
        }
        let is_of_operators = matches!(
            entry.change,
            Change::AddTenant { .. }
                | Change::SetTenant { .. }
                | Change::RemoveTenant
                | Change::LimitTenant { .. }
                | Change::AdmitAdmin { .. }
                | Change::OrderCluster { .. }
        );
        let is_within = entry.tenant == *tenant && !is_of_operators;
        let may = administers.allowed && (is_within || tenant == DEFAULT_TENANT);
        if may || (is_within && self.is_own(&entry.change, name, shown)) {
            return Ok(());
        }
        Err(Refused::Forbidden(format!(
            "`{name}` of `{tenant}` may not do this to the tenant `{}`",
            entry.tenant
        )))
    }

    /// Whether it concerns nobody but who asked: a token of their own that is gone, or goes no further than the one shown; or
    /// what they have seen.
    fn is_own(&self, change: &Change, name: &Name, shown: &Token) -> bool {
        match change {
            Change::AddToken { owner, scope, expires, .. } => {
                let roles = self.principal(&shown.tenant, name).map(|owner| owner.roles).unwrap_or_default();
                owner == name && shown.covers(roles, *scope) && *expires <= shown.expires
            }
            Change::RemoveToken { id } => self
                .tokens
                .get(id)
                .is_none_or(|token| token.tenant == shown.tenant && token.owner == shown.owner),
            // It changes nothing, and that it was seen is to be written whoever saw it.
            Change::ShowKey { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use twins::time::Timestamp;

    use super::super::{Role, Roles, Sort, TokenId};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn entry(by: By, change: Change) -> Entry {
        Entry { at: NOW, by, reason: None, tenant: DEFAULT_TENANT.into(), change }
    }

    fn put(name: &str, roles: &[Role], disabled: bool) -> Change {
        let (name, roles) = (Name::new("a name", name).unwrap(), roles.iter().copied().collect());
        Change::PutPrincipal { name, sort: Sort::User, roles: Some(roles), disabled: Some(disabled) }
    }

    fn token(id: u64, owner: &'static str, scope: Option<Role>, life: Duration) -> Change {
        let digest = twins::trust::Fingerprint([7; 32]);
        let scope = scope.map(|role| Roles::from_iter([role]));
        Change::AddToken { id: TokenId(id), owner: Name::fixed(owner), digest, scope, expires: NOW + life }
    }

    fn by(name: &'static str, token: u64) -> By {
        By::Principal { tenant: DEFAULT_TENANT.into(), name: Name::fixed(name), token: Some(TokenId(token)) }
    }

    /// Two admins, and an operator whose token is a viewer's.
    fn world() -> Directory {
        let mut directory = Directory::default();
        for change in [
            put("ada", &[Role::Admin], false),
            put("mallory", &[Role::Admin], false),
            put("olga", &[Role::Operator], false),
            token(1, "ada", None, DAY),
            token(2, "mallory", None, DAY),
            token(3, "olga", Some(Role::Viewer), DAY),
        ] {
            directory.apply(&entry(By::Folder, change)).unwrap();
        }
        directory
    }

    #[test]
    fn that_a_key_was_shown_is_written_whoever_saw_it() {
        let mut directory = world();
        let shown = Change::ShowKey { name: Name::fixed("valves"), device: Name::fixed("valve-1") };

        let refused = directory.apply(&entry(by("olga", 3), shown));

        assert!(matches!(refused, Err(Refused::Unknown(_))), "it needs the group, and no right: {refused:?}");
    }

    #[test]
    fn what_waits_for_its_turn_is_not_made_for_who_was_shut_out_meanwhile() {
        let late = entry(by("mallory", 2), put("eve", &[Role::Admin], false));
        for shuts in [
            Change::RemoveToken { id: TokenId(2) },
            put("mallory", &[Role::Admin], true),
            Change::RemovePrincipal { name: Name::fixed("mallory"), sort: Sort::User },
        ] {
            let mut directory = world();
            directory.apply(&entry(by("ada", 1), shuts)).unwrap();

            let refused = directory.apply(&late);

            assert!(matches!(refused, Err(Refused::Shut(_))), "{refused:?}");
            assert!(directory.principal(DEFAULT_TENANT, "eve").is_none());
        }
        let expired = Entry { at: NOW + DAY, ..late.clone() };
        assert!(matches!(world().apply(&expired), Err(Refused::Shut(_))));
        world().apply(&late).unwrap();
    }

    #[test]
    fn who_lost_the_right_meanwhile_may_not_either() {
        let mut directory = world();
        directory.apply(&entry(by("ada", 1), put("mallory", &[Role::Viewer], false))).unwrap();

        let refused = directory.apply(&entry(by("mallory", 2), put("eve", &[Role::Admin], false)));

        assert!(matches!(refused, Err(Refused::Forbidden(_))), "{refused:?}");
    }

    #[test]
    fn a_token_for_oneself_does_not_leave_behind_a_role_to_which_something_is_denied() {
        let mut directory = world();
        let both = Roles::from_iter([Role::Operator, Role::Viewer]);
        let digest = twins::trust::Fingerprint([7; 32]);
        let (owner, scope) = (Name::fixed("ada"), Some(both));
        let change = Change::AddToken { id: TokenId(5), owner, digest, scope, expires: NOW + DAY };
        directory.apply(&entry(By::Folder, change)).unwrap();
        // She has no right to administer by that one.
        let mut ada = |change| directory.apply(&entry(by("ada", 5), change));

        // What is denied to viewers is denied to it; a token of an operator alone would not be denied it.
        let shed = ada(token(6, "ada", Some(Role::Operator), DAY));
        assert!(matches!(shed, Err(Refused::Forbidden(_))), "{shed:?}");
        let change =
            Change::AddToken { id: TokenId(6), owner: Name::fixed("ada"), digest, scope, expires: NOW + DAY };
        ada(change).unwrap();
    }

    #[test]
    fn a_token_for_oneself_goes_no_further_and_lives_no_longer_than_the_one_shown() {
        let mut directory = world();
        let mut olga = |change| directory.apply(&entry(by("olga", 3), change));

        for wider in [
            token(4, "olga", None, DAY),
            token(4, "olga", Some(Role::Operator), DAY),
            token(4, "olga", Some(Role::Viewer), DAY * 2),
            token(4, "ada", Some(Role::Viewer), DAY),
            Change::RemoveToken { id: TokenId(1) },
        ] {
            assert!(matches!(olga(wider.clone()), Err(Refused::Forbidden(_))), "{wider:?}");
        }
        olga(token(4, "olga", Some(Role::Viewer), DAY)).unwrap();
        olga(Change::RemoveToken { id: TokenId(4) }).unwrap();
    }
}
