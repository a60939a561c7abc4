//! Who a device is and whether it may come in, through the one door that all inputs take.

mod device;
mod proving;
mod renewing;

use twins::command::{Answer, CommandId, Mode};
use twins::header::{Header, Principal};
use twins::input::{Desire, Input, Message, Send};
use twins::json::{Json, Limits};
use twins::name::Name;
use twins::rejection::Code;
use twins::reply::Delivery;
use twins::session::{Subscription, Topic};
use twins::transition::Effect;
use twins::trust::{By, Invitation, Lifecycle, Proof, Registration, Sort, Standing, Step, What};
use twins::twin::Twin;

use device::{Device, GRACE, certificate_for, granted, invitation, key_for, refused, report};

#[test]
fn a_device_gets_a_credential_only_once_it_is_activated() {
    let mut device = Device::invited();
    assert_eq!(device.twin().lifecycle(), Lifecycle::Registered);
    refused(device.connect(Proof::Credential(1)), Code::NotAuthorized);

    let credential = device.activate(1, 7).unwrap();

    assert_eq!(device.twin().lifecycle(), Lifecycle::Active);
    device.connect(Proof::Credential(credential.issue)).unwrap();
    assert_eq!(device.events(), ["invited", "activated"]);
}

#[test]
fn an_activation_is_answered_again_only_to_whoever_asked_first() {
    let mut device = Device::invited();
    let first = device.activate(1, 7).unwrap();

    let again = device.activate(1, 7).unwrap();
    refused(device.activate(1, 8), Code::AlreadyActivated);

    assert_eq!(again, first);
    assert_eq!(device.twin().trust().credentials(), [first]);
    assert_eq!(device.events(), ["invited", "activated", "activation-conflict"]);
}

#[test]
fn an_activation_key_of_another_time_opens_nothing() {
    let mut device = Device::unknown();
    let expires = Some(device.now + GRACE);
    let expiring = Invitation { expires, ..invitation(1) };
    device.register(Registration { invitation: Some(expiring), ..Registration::default() }).unwrap();
    device.step(What::Invite(Invitation { expires, ..invitation(2) })).unwrap();
    refused(device.activate(1, 7), Code::NotAuthorized);

    device.now = device.now + GRACE;

    refused(device.activate(2, 7), Code::NotAuthorized);
    refused(device.connect(Proof::Activation(2)), Code::NotAuthorized);
}

#[test]
fn the_activation_key_lets_a_device_do_nothing_but_activate_itself() {
    let mut device = Device::invited();
    let epoch = device.connect(Proof::Activation(1)).unwrap();

    refused(device.say(epoch, 1, report()), Code::NotAuthorized);
    let rotate = Step { what: What::Issue { grant: key_for(8), grace: GRACE }, reason: None };
    refused(device.say(epoch, 2, Input::Trust(Box::new(rotate))), Code::NotAuthorized);
    let step = Step { what: What::Activate { by: By::Key(1), grant: key_for(7) }, reason: None };
    device.say(epoch, 3, Input::Trust(Box::new(step))).unwrap();

    assert_eq!(device.twin().reported().version(), 0);
    assert_eq!(device.twin().trust().credentials().len(), 1);
}

#[test]
fn rotation_leaves_the_last_credential_its_grace_and_ends_the_one_before() {
    let (mut device, first) = Device::active();
    let session = device.connect(Proof::Credential(first)).unwrap();

    let second = device.rotate(8).unwrap().issue;
    assert_eq!(device.rotate(8).unwrap().issue, second, "the same request");
    device.connect(Proof::Credential(first)).unwrap();
    assert!(!device.closed(session));
    let third = device.rotate(9).unwrap().issue;

    refused(device.connect(Proof::Credential(first)), Code::NotAuthorized);
    let held: Vec<_> = device.twin().trust().credentials().iter().map(|c| (c.issue, c.expires)).collect();
    assert_eq!(held, [(second, Some(device.now + GRACE)), (third, None)]);
}

#[test]
fn a_credential_ends_when_its_time_is_over_and_with_it_its_connections() {
    let (mut device, first) = Device::active();
    let session = device.connect(Proof::Credential(first)).unwrap();
    device.rotate(8).unwrap();
    let due = device.twin().next_due().unwrap();
    assert_eq!(due, device.now + GRACE);

    device.now = due;
    device.decide(Input::Due, Header { principal: Principal::System, ..Header::default() }).unwrap();

    assert!(device.closed(session));
    refused(device.say(session, 1, report()), Code::SessionEnded);
    assert_eq!(device.twin().trust().credential(first), None);
    assert_eq!(device.events().last(), Some(&"expired"));
}

#[test]
fn keys_and_certificates_have_slots_of_their_own() {
    let (mut device, key) = Device::active();
    let expires = device.now + GRACE * 48;

    let certificate = granted(device.step(What::Issue { grant: certificate_for(8, expires), grace: GRACE }));

    let certificate = certificate.unwrap();
    assert_eq!((certificate.sort(), certificate.expires), (Sort::Certificate, Some(expires)));
    device.connect(Proof::Credential(key)).unwrap();
    device.connect(Proof::Credential(certificate.issue)).unwrap();
}

#[test]
fn a_revoked_device_is_out_at_once_and_its_numbers_never_come_back() {
    let (mut device, issue) = Device::active();
    let session = device.connect(Proof::Credential(issue)).unwrap();

    device.step(What::Withdraw(None)).unwrap();

    assert!(device.closed(session));
    assert_eq!(device.twin().lifecycle(), Lifecycle::Revoked);
    refused(device.connect(Proof::Credential(issue)), Code::NotAuthorized);
    refused(device.activate(1, 7), Code::NotAuthorized);
    device.step(What::Invite(invitation(3))).unwrap();
    let number = device.twin().trust().activation().unwrap().issue;
    assert!(device.activate(number, 9).unwrap().issue > number);
}

#[test]
fn one_credential_may_be_revoked_alone() {
    let (mut device, first) = Device::active();
    let second = device.rotate(8).unwrap().issue;
    let (of_first, of_second) = (
        device.connect(Proof::Credential(first)).unwrap(),
        device.connect(Proof::Credential(second)).unwrap(),
    );

    device.step(What::Withdraw(Some(first))).unwrap();
    refused(device.step(What::Withdraw(Some(first))), Code::UnknownCredential);

    assert!(device.closed(of_first) && !device.closed(of_second));
}

#[test]
fn what_a_group_gave_before_it_was_barred_is_not_taken() {
    let mut device = Device::unknown();
    let group = Some(Name::fixed("line-4"));
    device.register(Registration { group: group.clone(), ..Registration::default() }).unwrap();
    let of = |group: &'static str, issued| Proof::Group { group: Name::fixed(group), issued, until: None };
    let before = Some(device.now);
    device.connect(of("line-4", before)).unwrap();
    refused(device.connect(of("line-5", before)), Code::NotAuthorized);

    device.step(What::Withdraw(None)).unwrap();

    refused(device.connect(of("line-4", before)), Code::NotAuthorized);
    refused(device.connect(of("line-4", None)), Code::NotAuthorized);
    device.connect(of("line-4", Some(device.now + GRACE))).unwrap();
}

#[test]
fn a_disabled_device_stays_out_and_keeps_its_credentials() {
    let (mut device, issue) = Device::active();
    let session = device.connect(Proof::Credential(issue)).unwrap();

    device.step(What::Stand(Standing::Disabled)).unwrap();

    assert!(device.closed(session));
    refused(device.connect(Proof::Credential(issue)), Code::Disabled);
    refused(device.connect(Proof::Open), Code::Disabled);
    let http = Header { proof: Some(Box::new(Proof::Credential(issue))), ..Header::default() };
    refused(device.decide(report(), http.clone()), Code::Disabled);
    device.step(What::Stand(Standing::Enabled)).unwrap();
    device.decide(report(), http).unwrap();
    device.connect(Proof::Credential(issue)).unwrap();
}

#[test]
fn a_quarantined_device_neither_speaks_nor_is_told_anything_but_stays_manageable() {
    let (mut device, issue) = Device::active();
    let session = device.connect(Proof::Credential(issue)).unwrap();
    let listens = Subscription {
        filter: Name::fixed("twins/me/commands"),
        topic: Topic::Commands,
        qos: 1,
        identifier: None,
    };
    device.say(session, 1, Input::Subscribe(vec![listens])).unwrap();
    device.step(What::Stand(Standing::Quarantined)).unwrap();
    device.got.clear();

    refused(device.say(session, 2, report()), Code::Quarantined);
    let command = Send {
        id: CommandId(uuid::Uuid::from_u128(1)),
        name: Name::fixed("open"),
        payload: Json::null().into(),
        deadline: device.now + GRACE,
        mode: Mode::Queue,
        answer: Answer::None,
    };
    device.operator(Input::Command(command)).unwrap();
    assert_eq!(device.got, []);
    let step = Step { what: What::Issue { grant: key_for(8), grace: GRACE }, reason: None };
    device.say(session, 3, Input::Trust(Box::new(step))).unwrap();
    device.step(What::Stand(Standing::Enabled)).unwrap();

    assert!(matches!(device.got[..], [(_, Delivery::Command { .. })]), "{:?}", device.got);
}

#[test]
fn what_a_device_without_a_session_proved_is_checked_again_by_its_twin() {
    let (mut device, issue) = Device::active();
    let header = Header { proof: Some(Box::new(Proof::Credential(issue))), ..Header::default() };
    device.decide(report(), header.clone()).unwrap();

    device.step(What::Withdraw(Some(issue))).unwrap();

    refused(device.decide(report(), header), Code::NotAuthorized);
}

#[test]
fn an_id_that_is_registered_again_inherits_nothing() {
    let (mut device, issue) = Device::active();
    let with = Registration {
        catalogue: Some(serde_json::from_str(r#"{"customer":"acme"}"#).unwrap()),
        ..Registration::default()
    };
    device.register(with).unwrap();
    device.operator(Input::Remove { reason: None }).unwrap();

    device.register(Registration::default()).unwrap();

    let twin = device.twin();
    assert_eq!((twin.generation(), twin.lifecycle()), (2, Lifecycle::Registered));
    assert_eq!((twin.trust().credentials(), twin.catalogue().document().len()), (&[][..], 2));
    refused(device.connect(Proof::Credential(issue)), Code::NotAuthorized);
    assert!(device.twin().trust().next_issue() > issue);
}

#[test]
fn a_device_that_is_active_is_not_invited_by_being_registered_again() {
    let (mut device, _) = Device::active();
    let with = |of| Registration { invitation: Some(invitation(of)), ..Registration::default() };

    device.register(with(1)).unwrap();
    refused(device.register(with(2)), Code::Conflict);

    assert_eq!(device.events(), ["invited", "activated"]);
}

#[test]
fn every_step_is_a_link_of_the_chain_and_says_so() {
    let (mut device, _) = Device::active();
    device.rotate(8).unwrap();
    device.step(What::Stand(Standing::Disabled)).unwrap();

    let chain = *device.twin().trust().chain();

    let Some(Effect::Event { data, .. }) = device.journal.last().and_then(|last| last.effects.last()) else {
        panic!("no event")
    };
    let shown = format!(r#"{{"reason":"drill","audit":{{"n":{},"hash":"{}"}}}}"#, chain.length, chain.head);
    assert_eq!(data.as_str(), shown);
    let mut replayed = Twin::default();
    assert!(device.journal.iter().all(|transition| replayed.apply(transition)));
    assert_eq!(&replayed, device.twin());
    let image = minicbor::to_vec(device.twin()).unwrap();
    assert_eq!(&minicbor::decode::<Twin>(&image).unwrap(), device.twin());
}

#[test]
fn who_has_only_the_activation_key_hears_nothing_takes_over_nothing_and_leaves_no_word() {
    let (mut device, issue) = Device::active();
    let own = device.connect(Proof::Credential(issue)).unwrap();
    let listens = |topic| Subscription { filter: Name::fixed("twins/me/#"), topic, qos: 1, identifier: None };
    device.say(own, 1, Input::Subscribe(vec![listens(Topic::Desired)])).unwrap();
    let stranger = device.connect(Proof::Activation(1)).unwrap();
    let all = [Topic::Desired, Topic::Commands, Topic::Credentials].map(listens);
    device.say(stranger, 1, Input::Subscribe(all.into())).unwrap();
    device.got.clear();

    let patch = Json::parse(br#"{"on":true}"#, &Limits::default()).unwrap();
    let desired = Some(Desire::Merge(patch));
    device.operator(Input::Update { tags: None, desired, if_match: None }).unwrap();
    refused(device.say(stranger, 2, Input::Acknowledge(Message::Desired(1))), Code::NotAuthorized);
    let rotate = Step { what: What::Issue { grant: key_for(9), grace: GRACE }, reason: None };
    refused(device.say(stranger, 3, Input::Trust(Box::new(rotate))), Code::NotAuthorized);
    let read = Header { proof: Some(Box::new(Proof::Activation(1))), ..Header::default() };
    refused(device.decide(Input::Read, read), Code::NotAuthorized);

    assert!(device.got.iter().all(|(epoch, _)| *epoch == own), "{:?}", device.got);
}

#[test]
fn what_a_session_proved_is_checked_with_each_of_its_inputs() {
    let (mut device, issue) = Device::active();
    let session = device.connect(Proof::Credential(issue)).unwrap();
    device.rotate(8).unwrap();

    device.now = device.now + GRACE;

    refused(device.say(session, 1, report()), Code::NotAuthorized);
}
