//! What could not be taken, and what a restored backup made of two moments: nothing is lost without a word, and asking again
//! mends what can be mended.

use twins::rejection::Rejection;
use twins::trust::Lifecycle;

use super::{Place, twin};

#[test]
fn an_estate_that_cannot_be_taken_comes_back() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry_one();
    place.carry_one();
    let (to, cause, word) = place.words.pop_front().unwrap();
    assert_eq!((to, place.twin("old").lifecycle()), (twin("new"), Lifecycle::Replaced));

    let back = word.declined(&Rejection::because("its image cannot be read")).unwrap();
    place.words.push_back((cause.twin.clone(), cause, back));
    place.carry_one();

    let old = place.twin("old");
    assert_eq!((old.trust().replaced_by(), old.tags().document().as_str()), (None, r#"{"hall":7}"#));
    assert_eq!((old.commands().open().count(), old.timers().len()), (2, 1));
    place.replace("old", "new").unwrap();
    place.settle();
    assert_eq!(place.twin("old").trust().replaced_by(), Some(&twin("new")));
}

#[test]
fn asking_again_ends_what_a_backup_made_of_two_moments() {
    let (mut early, mut late) = (Place::new(), Place::new());
    for place in [&mut early, &mut late] {
        place.replace("old", "new").unwrap();
        place.carry_one();
    }
    late.carry();

    // The one that went is from before it gave up; its successor has all.
    let old = early.twins.remove(&twin("old")).unwrap();
    let before = late.twins.insert(twin("old"), old).unwrap();
    late.replace("old", "new").unwrap();
    late.settle();
    assert_eq!(late.twin("old").trust().replaced_by(), Some(&twin("new")));
    assert_eq!(late.twin("new").trust().ancestors().len(), 1);

    // The successor is from before it got anything, and nothing is under way.
    early.twins.insert(twin("old"), before);
    early.words.clear();
    early.replace("old", "new").unwrap();
    early.carry_one();
    assert_eq!(early.twin("new").trust().succession(), None);
    early.remove("new").unwrap();
}

#[test]
fn who_is_replaced_after_another_one_got_its_id_is_looked_at_anew() {
    let mut place = Place::new();
    place.replace("old", "new").unwrap();
    place.carry_one();
    place.remove("old").unwrap();
    place.register("old", "device");
    place.words.clear();

    place.replace("old", "new").unwrap();
    place.settle();

    assert_eq!(
        place.twin("old").trust().replaced_by(),
        None,
        "a `clock` cannot take the place of a `device`"
    );
}
