//! A device that an enrolment group spoke for is replaced.

use twins::input::Input;
use twins::name::Name;
use twins::trust::{Proof, Registration};

use super::Place;

#[test]
fn what_a_group_gave_lets_nobody_in_again_by_the_id_of_what_was_replaced() {
    let mut place = Place::new();
    let group = Name::fixed("pumps");
    let of_group = || {
        let with = Registration { group: Some(group.clone()), ..Registration::default() };
        Input::Register { kind: Name::fixed("clock"), tags: None, with: Some(Box::new(with)) }
    };
    place.operator("old", of_group()).unwrap();
    let given = Proof::Group { group: group.clone(), issued: Some(place.now) };
    let derived = Proof::Group { group: group.clone(), issued: None };
    assert!(place.twin("old").trust().holds(&given, place.now));

    place.replace("old", "new").unwrap();
    place.carry();
    place.remove("old").unwrap();
    place.operator("old", of_group()).unwrap();

    let trust = place.twin("old").trust();
    assert_eq!(trust.group(), Some(&group));
    assert!(!trust.holds(&given, place.now) && !trust.holds(&derived, place.now));
}
