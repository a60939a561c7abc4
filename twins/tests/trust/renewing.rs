//! Certificates that follow one another: nobody is cut off by asking for the next one, and nobody who was shut out is let in
//! by being registered again.

use std::time::Duration;

use twins::header::{Header, Principal};
use twins::input::Input;
use twins::name::Name;
use twins::rejection::Code;
use twins::trust::{Credential, Proof, Registration, Sort, Standing, Step, What};

use crate::device::{Device, GRACE, certificate_for, granted, refused};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Device {
    /// Asks for the next certificate, as who came by this one.
    fn renew(&mut self, by: u64, request: u8) -> Credential {
        let grant = certificate_for(request, self.now + YEAR);
        let step = Step { what: What::Issue { grant, grace: GRACE }, reason: None };
        let proof = Some(Box::new(Proof::Credential(by)));
        let header = Header { principal: Principal::Device, proof, ..Header::default() };
        granted(self.decide(Input::Trust(Box::new(step)), header)).unwrap()
    }

    /// A first certificate, given by an operator.
    fn certified() -> (Self, u64) {
        let (mut device, _) = Self::active();
        let grant = certificate_for(1, device.now + YEAR);
        let first = granted(device.step(What::Issue { grant, grace: GRACE })).unwrap();
        (device, first.issue)
    }

    fn certificates(&self) -> Vec<u64> {
        let all = self.twin().trust().credentials().iter();
        all.filter(|known| known.sort() == Sort::Certificate).map(|known| known.issue).collect()
    }
}

#[test]
fn who_lost_the_answer_and_asks_for_another_one_keeps_what_it_came_by() {
    let (mut device, first) = Device::certified();
    let lost = device.renew(first, 2).issue;
    let epoch = device.connect(Proof::Credential(first)).unwrap();

    let next = device.renew(first, 3).issue;

    assert_eq!(device.certificates(), [first, next]);
    assert!(!device.closed(epoch), "it hears the answer");
    refused(device.connect(Proof::Credential(lost)), Code::NotAuthorized);
    device.connect(Proof::Credential(next)).unwrap();
    device.now = device.now + GRACE;
    refused(device.connect(Proof::Credential(first)), Code::NotAuthorized);
}

#[test]
fn the_same_request_is_a_repeat_at_first_and_the_next_one_later() {
    let (mut device, first) = Device::certified();
    let second = device.renew(first, 2);
    device.now = device.now + GRACE / 2;
    assert_eq!(device.renew(first, 2), second);

    device.now = device.now + YEAR / 2;
    let third = device.renew(second.issue, 2);

    assert_ne!(third.issue, second.issue);
    assert!(third.expires > second.expires);
    assert_eq!(device.renew(second.issue, 2), third, "of which there are repeats, too");
}

#[test]
fn all_certificates_go_at_once_and_keys_stay() {
    let (mut device, first) = Device::certified();
    let second = device.renew(first, 2).issue;
    let epoch = device.connect(Proof::Credential(second)).unwrap();

    device.step(What::WithdrawAll(Sort::Certificate)).unwrap();

    assert!(device.certificates().is_empty() && device.closed(epoch));
    assert_eq!(device.twin().trust().credentials().len(), 1, "its key");
    refused(device.step(What::WithdrawAll(Sort::Certificate)), Code::UnknownCredential);
}

#[test]
fn a_group_lets_nobody_in_who_was_shut_out_before_the_id_was_registered_again() {
    for shut in [What::Withdraw(None), What::Stand(Standing::Disabled), What::Stand(Standing::Quarantined)] {
        let mut device = Device::unknown();
        let of_group = || Registration { group: Some(Name::fixed("pumps")), ..Registration::default() };
        let issued = |device: &Device| Proof::Group {
            group: Name::fixed("pumps"),
            issued: Some(device.now),
            until: None,
        };
        device.register(of_group()).unwrap();
        let stolen = issued(&device);
        device.connect(stolen.clone()).unwrap();

        device.step(shut).unwrap();
        device.operator(Input::Remove { reason: None }).unwrap();
        device.register(of_group()).unwrap();

        refused(device.connect(stolen), Code::NotAuthorized);
        device.now = device.now + GRACE;
        device.connect(issued(&device)).unwrap();
    }
}
