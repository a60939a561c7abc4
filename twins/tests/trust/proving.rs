//! What a session rests on: what its device proved last, until that ends; and what it shows that nobody registers anew.

use std::time::Duration;

use twins::header::{Header, Mark, Principal};
use twins::input::Input;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::trust::{Proof, Registration, What};

use super::device::{Device, GRACE, refused, report};

fn of_group(issued: Option<twins::time::Timestamp>) -> Proof {
    Proof::Group { group: Name::fixed("pumps"), issued, until: None }
}

impl Device {
    /// The device of a session has proved anew who it is.
    fn prove(&mut self, epoch: u64, n: u64, proof: Proof) -> Result<Reply, Rejection> {
        let (mark, proof) = (Some(Mark { epoch, n }), Some(Box::new(proof)));
        self.decide(Input::Prove, Header { mark, proof, ..Header::default() })
    }

    /// A group registers it, as it shows that what is valid since then; `is_new` as whoever looked saw it.
    fn enrol(&mut self, issued: Option<twins::time::Timestamp>) -> Result<Reply, Rejection> {
        let with =
            Registration { group: Some(Name::fixed("pumps")), is_new: true, ..Registration::default() };
        let proof = Some(Box::new(of_group(issued)));
        let header = Header { principal: Principal::System, proof, ..Header::default() };
        let with = Some(Box::new(with));
        self.decide(Input::Register { kind: Name::fixed("device"), tags: None, with }, header)
    }
}

#[test]
fn a_session_goes_on_by_what_was_proved_last_and_ends_with_that() {
    let (mut device, first) = Device::active();
    let second = device.rotate(8).unwrap().issue;
    let epoch = device.connect(Proof::Credential(first)).unwrap();

    device.prove(epoch, 1, Proof::Credential(second)).unwrap();

    device.step(What::Withdraw(Some(first))).unwrap();
    assert!(!device.closed(epoch));
    device.say(epoch, 2, report()).unwrap();
    refused(device.prove(epoch, 3, Proof::Credential(first)), Code::NotAuthorized);
    device.step(What::Withdraw(Some(second))).unwrap();
    assert!(device.closed(epoch));
}

#[test]
fn a_session_ends_with_the_certificate_of_its_group() {
    let mut device = Device::unknown();
    device.register(Registration { group: Some(Name::fixed("pumps")), ..Registration::default() }).unwrap();
    let until = device.now + GRACE;
    let of = |until| Proof::Group { group: Name::fixed("pumps"), issued: Some(until), until: Some(until) };
    let (short, long) = (of(until), of(until + GRACE));
    let epochs = [short.clone(), long].map(|proof| device.connect(proof).unwrap());

    assert_eq!(device.twin().next_due(), Some(until));
    device.now = until;
    device.operator(Input::Due).unwrap();

    assert_eq!(epochs.map(|epoch| device.closed(epoch)), [true, false]);
    assert_eq!(device.twin().next_due(), Some(until + GRACE));
    refused(device.connect(short), Code::NotAuthorized);
}

#[test]
fn whom_a_group_would_not_let_in_it_does_not_register() {
    for shut in [What::Withdraw(None), What::Stand(twins::trust::Standing::Disabled)] {
        let mut device = Device::unknown();
        let stolen = Some(device.now);
        device.enrol(stolen).unwrap();
        device.step(shut).unwrap();
        device.operator(Input::Remove { reason: None }).unwrap();
        let journal = device.journal.len();

        refused(device.enrol(stolen), Code::NotAuthorized);
        refused(device.enrol(None), Code::NotAuthorized);

        assert_eq!((device.twin().exists(), device.journal.len()), (false, journal));
        device.now = device.now + Duration::from_secs(1);
        device.enrol(Some(device.now)).unwrap();
        device.connect(of_group(Some(device.now))).unwrap();
    }
}

#[test]
fn who_saw_nobody_there_changes_nobody_who_came_meanwhile() {
    let mut device = Device::invited();
    refused(device.enrol(Some(device.now)), Code::Conflict);
    let with = Registration { group: Some(Name::fixed("fans")), is_new: true, ..Registration::default() };
    refused(device.register(with), Code::Conflict);
    assert_eq!(device.twin().trust().group(), None);

    // The same device comes twice at once.
    let mut device = Device::unknown();
    device.enrol(Some(device.now)).unwrap();
    let journal = device.journal.len();
    let again = device.enrol(Some(device.now)).unwrap();

    assert!(matches!(again, Reply::Registered { created: false, .. }), "{again:?}");
    assert_eq!(device.journal.len(), journal);
}
