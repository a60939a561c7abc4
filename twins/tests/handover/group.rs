//! A device that an enrolment group spoke for is replaced.

use twins::input::{Desire, Input};
use twins::name::Name;
use twins::trust::{By, Proof, Registration, What};

use super::{Place, json, key, twin};

#[test]
fn what_its_group_wants_of_a_successor_does_not_stand_in_its_way() {
    let mut place = Place::new();
    let with = Registration {
        group: Some(Name::fixed("pumps")),
        desired: Some(json(r#"{"rate":2}"#)),
        ..Registration::default()
    };
    let register = Input::Register { kind: Name::fixed("clock"), tags: None, with: Some(Box::new(with)) };
    for id in ["spare", "used"] {
        place.operator(id, register.clone()).unwrap();
        let activate = What::Activate { by: By::Installer, grant: key(id) };
        place.step(id, activate).unwrap();
    }
    let desired = Some(Desire::Merge(json(r#"{"speed":1}"#)));
    place.operator("used", Input::Update { tags: None, desired, if_match: None }).unwrap();

    assert!(place.twin("used").may_succeed(&twin("used"), "clock").is_err(), "it was wanted of itself");
    place.replace("old", "spare").unwrap();
    place.carry();

    assert_eq!(place.twin("old").trust().replaced_by(), Some(&twin("spare")));
    assert_eq!(place.twin("spare").desired().document().as_str(), r#"{"speed":5}"#);
    assert!(place.twin("spare").has_device() && !place.twin("old").has_device());
}

#[test]
fn what_a_group_gave_lets_nobody_in_again_by_the_id_of_what_was_replaced() {
    let mut place = Place::new();
    let group = Name::fixed("pumps");
    let of_group = || {
        let with = Registration { group: Some(group.clone()), ..Registration::default() };
        Input::Register { kind: Name::fixed("clock"), tags: None, with: Some(Box::new(with)) }
    };
    place.operator("old", of_group()).unwrap();
    let given = Proof::Group { group: group.clone(), issued: Some(place.now), until: None };
    let derived = Proof::Group { group: group.clone(), issued: None, until: None };
    assert!(place.twin("old").trust().holds(&given, place.now));

    place.replace("old", "new").unwrap();
    place.carry();
    place.remove("old").unwrap();
    place.operator("old", of_group()).unwrap();

    let trust = place.twin("old").trust();
    assert_eq!(trust.group(), Some(&group));
    assert!(!trust.holds(&given, place.now) && !trust.holds(&derived, place.now));
}
