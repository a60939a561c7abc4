//! The directory as a whole: what changes lead to, and what follows from them for who may what.

use std::time::Duration;

use proptest::prelude::*;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;

use super::audit::Fingerprint;
use super::*;
use crate::access::Verb;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn name(text: &str) -> Name {
    Name::new("a name", text).unwrap()
}

fn entry(tenant: &str, change: Change) -> Entry {
    Entry { at: NOW, by: By::Folder, reason: None, tenant: tenant.into(), change }
}

fn user(text: &str, roles: &[Role]) -> Change {
    let roles = roles.iter().copied().collect();
    Change::PutPrincipal { name: name(text), sort: Sort::User, roles: Some(roles), disabled: Some(false) }
}

fn token(id: u64, owner: &str, life: Duration) -> Change {
    let (id, digest) = (TokenId(id), Fingerprint([id as u8; 32]));
    Change::AddToken { id, owner: name(owner), digest, scope: None, expires: NOW + life }
}

fn tenant(id: u64) -> Change {
    let (token, digest) = (TokenId(id), Fingerprint([1; 32]));
    Change::AddTenant { admin: name("root"), token, digest, expires: NOW + DAY }
}

fn policy(effect: Effect, who: &str, devices: &str, path: &str, verbs: &[Verb]) -> Policy {
    Policy {
        effect,
        who: vec![Whom::parse(who).unwrap()],
        devices: DevicePattern::new(devices).unwrap(),
        path: PathPattern::new(path).unwrap(),
        verbs: verbs.iter().copied().collect(),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The default tenant with an admin, an operator and a viewer, and another tenant.
fn world() -> Directory {
    let mut directory = Directory::default();
    for change in
        [user("root", &[Role::Admin]), user("olga", &[Role::Operator]), user("vera", &[Role::Viewer])]
    {
        directory.apply(&entry("default", change)).unwrap();
    }
    directory.apply(&entry("acme", tenant(99))).unwrap();
    directory
}

fn may(directory: &Directory, who: &str, scope: Option<Role>, verb: Verb, twin: &str, path: &str) -> bool {
    let twin = TwinId::in_default_tenant(twin).unwrap();
    let scope = scope.map(|role| Roles::from_iter([role]));
    directory.verdict(Who { tenant: "default", name: who, scope }, verb, &twin, path).allowed
}

#[test]
fn a_refused_change_leaves_no_trace() {
    let mut directory = world();
    let before = directory.clone();
    let disabled = Change::SetTenant { disabled: true };
    for (tenant_name, change) in [
        ("nowhere", user("ada", &[])),
        ("default", user("a/b", &[])),
        ("default", token(1, "nobody", DAY)),
        ("default", token(1, "root", Duration::ZERO)),
        ("default", token(1, "root", LIFE_MAX + DAY)),
        ("default", token(99, "root", DAY)),
        ("default", Change::RemoveToken { id: TokenId(99) }),
        ("default", Change::RemovePrincipal { name: name("root"), sort: Sort::Service }),
        ("default", Change::RemovePolicy { name: name("none") }),
        ("default", disabled),
        ("default", Change::RemoveTenant),
        ("acme", Change::RemoveTenant),
        ("acme", tenant(100)),
        ("a b", tenant(100)),
    ] {
        let refused = directory.apply(&entry(tenant_name, change.clone()));

        assert!(refused.is_err(), "{change:?}");
        assert_eq!(directory, before, "{change:?}");
    }
}

#[test]
fn nobody_shuts_out_the_last_admin() {
    let mut directory = world();
    for change in [
        user("root", &[Role::Viewer]),
        Change::RemovePrincipal { name: name("root"), sort: Sort::User },
        Change::PutPrincipal { name: name("root"), sort: Sort::User, roles: None, disabled: Some(true) },
    ] {
        let refused = directory.apply(&entry("default", change)).unwrap_err();
        assert!(matches!(refused, Refused::Conflict(_)), "{refused}");
    }

    directory.apply(&entry("default", user("vera", &[Role::Admin]))).unwrap();
    directory.apply(&entry("default", user("root", &[]))).unwrap();

    assert!(directory.has_admin("default"));
}

#[test]
fn tokens_go_with_their_owner_and_expired_ones_make_room() {
    let mut directory = world();
    directory.apply(&entry("default", token(1, "vera", DAY))).unwrap();
    directory.apply(&entry("default", token(2, "olga", DAY))).unwrap();
    directory
        .apply(&entry("default", Change::RemovePrincipal { name: name("vera"), sort: Sort::User }))
        .unwrap();
    assert_eq!(directory.tokens.keys().copied().collect::<Vec<_>>(), [TokenId(2), TokenId(99)]);

    let later = Entry { at: NOW + DAY * 2, ..entry("default", token(3, "olga", DAY * 3)) };
    directory.apply(&later).unwrap();

    assert_eq!(directory.tokens.keys().copied().collect::<Vec<_>>(), [TokenId(3)], "of all tenants");
}

#[test]
fn one_user_takes_the_room_for_tokens_of_nobody_else() {
    let mut directory = world();
    for id in 1..=100 {
        directory.apply(&entry("default", token(1_000 + id, "vera", DAY))).unwrap();
    }

    let one_more = directory.apply(&entry("default", token(2_000, "vera", DAY)));

    assert!(matches!(one_more, Err(Refused::Full(_))), "{one_more:?}");
    directory.apply(&entry("default", token(2_000, "olga", DAY))).unwrap();
}

#[test]
fn a_removed_tenant_leaves_nothing_and_nobody_has_its_name_again() {
    let mut directory = world();
    directory.apply(&entry("acme", user("eve", &[Role::Admin]))).unwrap();
    directory.apply(&entry("acme", Change::SetTenant { disabled: true })).unwrap();
    directory.apply(&entry("acme", Change::RemoveTenant)).unwrap();
    assert!(!directory.tokens.contains_key(&TokenId(99)));

    let again = directory.apply(&entry("acme", tenant(100)));

    assert!(matches!(again, Err(Refused::Conflict(_))), "{again:?}");
    assert!(directory.principal("acme", "eve").is_none());
}

#[test]
fn there_are_no_more_policies_than_may_be() {
    let mut directory = world();
    let put = |n: usize| {
        let policy = policy(Effect::Allow, "*", "*", "**", &[Verb::Read]);
        entry("default", Change::PutPolicy { name: name(&format!("p{n}")), policy })
    };
    for n in 0..256 {
        directory.apply(&put(n)).unwrap();
    }

    assert!(matches!(directory.apply(&put(256)), Err(Refused::Full(_))));
    assert!(directory.apply(&put(0)).is_ok(), "one that is there may be replaced");
}

#[test]
fn an_entry_reads_back_as_it_was_written() {
    let group = Group {
        template: Template { kind: name("device"), tags: Default::default(), desired: Default::default() },
        trust: Trust::Authority { certificates: vec!["one".into(), "two".into()] },
        registers: true,
        disabled: false,
        barred: Some(NOW),
    };
    let night = policy(Effect::Deny, "role:viewer", "pump-*", "desired/heating", &[Verb::Read, Verb::Write]);
    for change in [
        user("ada", &Role::ALL),
        token(7, "ada", DAY),
        tenant(8),
        Change::PutPolicy { name: name("night"), policy: night },
        Change::PutGroup { name: name("g"), group },
    ] {
        let entry = entry("default", change);
        let bytes = minicbor::to_vec(&entry).unwrap();
        assert_eq!(minicbor::decode::<Entry>(&bytes).unwrap(), entry);
    }
}

#[test]
fn roles_say_what_may_be_done_where_no_policy_does() {
    let directory = world();
    assert!(may(&directory, "olga", None, Verb::Write, "pump-1", "desired/a"));
    assert!(!may(&directory, "vera", None, Verb::Write, "pump-1", "desired/a"));
    assert!(!may(&directory, "nobody", None, Verb::Read, "pump-1", ""));
}

#[test]
fn a_token_goes_no_further_than_its_scope_and_leaves_no_denial_behind() {
    let mut directory = world();
    let deny = policy(Effect::Deny, "role:operator", "*", "reported/secret", &[Verb::Read]);
    let allow = policy(Effect::Allow, "olga", "*", "**", &[Verb::Secure]);
    directory.apply(&entry("default", Change::PutPolicy { name: name("a"), policy: deny })).unwrap();
    directory.apply(&entry("default", Change::PutPolicy { name: name("b"), policy: allow })).unwrap();

    assert!(may(&directory, "olga", None, Verb::Secure, "pump-1", ""));
    for verb in [Verb::Write, Verb::Secure] {
        assert!(!may(&directory, "olga", Some(Role::Viewer), verb, "pump-1", ""), "{verb:?}");
    }
    assert!(!may(&directory, "olga", Some(Role::Viewer), Verb::Read, "pump-1", "reported/secret"));
    assert!(may(&directory, "olga", Some(Role::Viewer), Verb::Read, "pump-1", "reported/open"));
}

#[test]
fn who_is_disabled_may_nothing_and_neither_may_their_tenant() {
    let mut directory = world();
    let olga =
        |roles, disabled| Change::PutPrincipal { name: name("olga"), sort: Sort::User, roles, disabled };
    directory.apply(&entry("default", olga(None, Some(true)))).unwrap();
    assert!(!may(&directory, "olga", None, Verb::Read, "pump-1", ""));
    let roles = Roles::from_iter([Role::Viewer]);
    directory.apply(&entry("default", olga(Some(roles), None))).unwrap();
    assert!(!may(&directory, "olga", None, Verb::Read, "pump-1", ""), "other roles let nobody in again");
    directory.apply(&entry("default", olga(None, Some(false)))).unwrap();
    assert!(may(&directory, "olga", None, Verb::Read, "pump-1", ""), "with the roles that were given last");

    directory.apply(&entry("acme", Change::SetTenant { disabled: true })).unwrap();

    let who = Who { tenant: "acme", name: "root", scope: None };
    assert!(!directory.governs(who, Verb::Administer).allowed);
}

#[test]
fn whoever_may_read_a_part_sees_that_the_twin_is_there_and_no_other_part() {
    let mut directory = world();
    directory.apply(&entry("default", user("meter", &[]))).unwrap();
    let allow = policy(Effect::Allow, "meter", "pump-*", "telemetry/energy", &[Verb::Read]);
    directory.apply(&entry("default", Change::PutPolicy { name: name("a"), policy: allow })).unwrap();

    assert!(may(&directory, "meter", None, Verb::Read, "pump-1", ""));
    assert!(may(&directory, "meter", None, Verb::Read, "pump-1", "telemetry/energy"));
    assert!(!may(&directory, "meter", None, Verb::Read, "pump-1", "telemetry/noise"));
    assert!(!may(&directory, "meter", None, Verb::Read, "fan-1", ""));
}

#[test]
fn a_verdict_says_what_led_to_it() {
    let mut directory = world();
    let deny = policy(Effect::Deny, "*", "pump-*", "commands/open", &[Verb::Control]);
    directory.apply(&entry("default", Change::PutPolicy { name: name("night"), policy: deny })).unwrap();
    let twin = TwinId::in_default_tenant("pump-1").unwrap();
    let who = Who { tenant: "default", name: "olga", scope: None };

    let verdict = directory.verdict(who, Verb::Control, &twin, "commands/open");
    assert_eq!(verdict.because, [Because::Policy { name: name("night"), effect: Effect::Deny }]);
    let verdict = directory.verdict(who, Verb::Control, &twin, "commands/close");
    assert_eq!(verdict.because, [Because::Role(Role::Operator)]);
    let verdict = directory.verdict(who, Verb::Secure, &twin, "");
    assert_eq!(verdict.because, [Because::Nothing]);
}

fn arbitrary_policy() -> impl Strategy<Value = Policy> {
    let effect = prop::sample::select(vec![Effect::Allow, Effect::Deny]);
    let who = prop::sample::select(vec!["*", "role:viewer", "role:operator", "olga", "vera", "root"]);
    let devices = prop::sample::select(vec!["*", "pump-*", "fan-1"]);
    let path = prop::sample::select(vec!["**", "desired", "desired/a", "*/a", "desired/a/b", "reported/**"]);
    let verbs = prop::sample::subsequence(vec![Verb::Read, Verb::Write, Verb::Control], 1..=3);
    (effect, who, devices, path, verbs)
        .prop_map(|(effect, who, devices, path, verbs)| policy(effect, who, devices, path, &verbs))
}

/// A question: who, with which scope, what, of which twin, which path.
fn arbitrary_question()
-> impl Strategy<Value = (&'static str, Option<Role>, Verb, &'static str, &'static str)> {
    (
        prop::sample::select(vec!["root", "olga", "vera"]),
        prop::option::of(prop::sample::select(Role::ALL.to_vec())),
        prop::sample::select(vec![Verb::Read, Verb::Write, Verb::Control]),
        prop::sample::select(vec!["pump-1", "fan-1"]),
        prop::sample::select(vec!["", "desired", "desired/a", "desired/a/b", "reported/a", "tags"]),
    )
}

fn with(policies: &[Policy], tenant: &str, prefix: &str) -> Directory {
    let mut directory = world();
    for (n, policy) in policies.iter().enumerate() {
        let change = Change::PutPolicy { name: name(&format!("{prefix}{n}")), policy: policy.clone() };
        directory.apply(&entry(tenant, change)).unwrap();
    }
    directory
}

proptest! {
    #[test]
    fn what_denies_wins_whatever_else_there_is(
        policies in prop::collection::vec(arbitrary_policy(), 0..6),
        denies in arbitrary_policy(),
        (who, scope, verb, twin, path) in arbitrary_question(),
    ) {
        let denies = Policy { effect: Effect::Deny, who: vec![Whom::Everybody], ..denies };
        let mut all = policies.clone();
        all.push(denies.clone());

        let is_meant = denies.verbs.contains(verb) && denies.devices.matches(twin) && denies.path.meets(path).covers;
        if is_meant {
            prop_assert!(!may(&with(&all, "default", "p"), who, scope, verb, twin, path));
        }
        // A denial never lets anybody do more.
        if may(&with(&all, "default", "p"), who, scope, verb, twin, path) {
            prop_assert!(may(&with(&policies, "default", "p"), who, scope, verb, twin, path));
        }
    }

    #[test]
    fn the_order_of_policies_does_not_matter(
        policies in prop::collection::vec(arbitrary_policy(), 0..6),
        (who, scope, verb, twin, path) in arbitrary_question(),
    ) {
        let mut reversed = policies.clone();
        reversed.reverse();
        let one = may(&with(&policies, "default", "p"), who, scope, verb, twin, path);
        prop_assert_eq!(one, may(&with(&reversed, "default", "q"), who, scope, verb, twin, path));
    }

    #[test]
    fn no_policy_of_another_tenant_matters(
        policies in prop::collection::vec(arbitrary_policy(), 0..6),
        (who, scope, verb, twin, path) in arbitrary_question(),
    ) {
        let elsewhere = with(&policies, "acme", "p");
        prop_assert_eq!(
            may(&elsewhere, who, scope, verb, twin, path),
            may(&world(), who, scope, verb, twin, path)
        );
        let foreign = TwinId::new("acme", twin).unwrap();
        let asker = Who { tenant: "default", name: who, scope: None };
        prop_assert!(!elsewhere.verdict(asker, verb, &foreign, path).allowed);
    }

    #[test]
    fn a_whole_is_what_all_its_parts_are(
        policies in prop::collection::vec(arbitrary_policy(), 0..6),
        (who, _, verb, twin, _) in arbitrary_question(),
        path in prop::sample::select(vec!["desired", "desired/a", "reported"]),
    ) {
        let directory = with(&policies, "default", "p");
        let twin = TwinId::in_default_tenant(twin).unwrap();
        let reach = directory.reach(Who { tenant: "default", name: who, scope: None }, verb, &twin);

        let below = ["", "/a", "/b", "/a/b", "/a/a", "/x/a/b"].map(|below| reach.may(&format!("{path}{below}")));

        if reach.may_whole(path) {
            prop_assert!(below.iter().all(|may| *may));
        }
        if below.iter().any(|may| *may) {
            prop_assert!(reach.may_some(path));
        }
    }

    #[test]
    fn a_narrower_token_never_goes_further(
        policies in prop::collection::vec(arbitrary_policy(), 0..6),
        (who, scope, verb, twin, path) in arbitrary_question(),
    ) {
        let directory = with(&policies, "default", "p");
        if may(&directory, who, scope, verb, twin, path) {
            prop_assert!(may(&directory, who, None, verb, twin, path));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_an_entry_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = minicbor::decode::<Entry>(&bytes) {
            drop(world().apply(&entry));
        }
    }
}
