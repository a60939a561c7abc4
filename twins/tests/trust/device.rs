//! A device with its twin, and what operators and the device itself say to it.

use std::time::Duration;

use bytes::Bytes;
use twins::decide::{Decision, Live};
use twins::header::{Header, Mark, Principal, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::{Json, Limits};
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::{Closed, Delivery, Reply};
use twins::session::{Connect, Connection};
use twins::time::Timestamp;
use twins::transition::{Effect, Transition};
use twins::trust::{
    By, Credential, Fingerprint, Grant, Invitation, Proof, Registration, Sealed, Secret, Step, Verifier, What,
};
use twins::twin::Twin;

pub const GRACE: Duration = Duration::from_secs(3600);

pub struct Device {
    pub id: TwinId,
    pub live: Live,
    pub now: Timestamp,
    pub journal: Vec<Transition>,
    pub got: Vec<(u64, Delivery)>,
}

impl Device {
    /// One that was registered with an activation key.
    pub fn invited() -> Self {
        let mut device = Self::unknown();
        device.register(Registration { invitation: Some(invitation(1)), ..Registration::default() }).unwrap();
        device
    }

    /// One that was activated, and the number of its key.
    pub fn active() -> (Self, u64) {
        let mut device = Self::invited();
        let issue = device.activate(1, 7).unwrap().issue;
        (device, issue)
    }

    pub fn unknown() -> Self {
        let id = TwinId::in_default_tenant("pump-7").unwrap();
        let now = Timestamp::from_millis(1_767_225_600_000);
        Self { id, live: Live::default(), now, journal: Vec::new(), got: Vec::new() }
    }

    pub fn decide(&mut self, input: Input, header: Header) -> Result<Reply, Rejection> {
        let header = Header { received: self.now, ..header };
        let Decision { transition, reply, outputs } =
            Kinds::default().decide(&self.id, &mut self.live, &input, header);
        self.journal.extend(transition);
        self.got.extend(outputs.into_iter().map(|output| (output.epoch, output.what)));
        reply
    }

    pub fn operator(&mut self, input: Input) -> Result<Reply, Rejection> {
        let principal = Principal::User(Name::fixed("ann"));
        self.decide(input, Header { principal, ..Header::default() })
    }

    pub fn register(&mut self, with: Registration) -> Result<Reply, Rejection> {
        let with = Some(Box::new(with));
        self.operator(Input::Register { kind: Name::fixed("device"), tags: None, with })
    }

    pub fn step(&mut self, what: What) -> Result<Reply, Rejection> {
        self.operator(Input::Trust(Box::new(Step { what, reason: Some(Name::fixed("drill")) })))
    }

    pub fn activate(&mut self, key: u64, request: u8) -> Result<Credential, Rejection> {
        granted(self.step(What::Activate { by: By::Key(key), grant: key_for(request) }))
    }

    pub fn rotate(&mut self, request: u8) -> Result<Credential, Rejection> {
        granted(self.step(What::Issue { grant: key_for(request), grace: GRACE }))
    }

    pub fn connect(&mut self, proof: Proof) -> Result<u64, Rejection> {
        let client = Name::new("a client", &format!("{proof:?}").replace(['+', '#'], "-")).unwrap();
        let address = Name::fixed("192.0.2.1:1");
        let connection = Connection { node: 1, generation: 1, transport: Transport::MqttTls, address };
        let connect =
            Connect { client, keep: false, resumes: false, connection, expiry_s: None, will: None, proof };
        match self.decide(Input::Connect { connect, register: None }, Header::default())? {
            Reply::Connected { epoch, .. } => Ok(epoch),
            other => panic!("{other:?}"),
        }
    }

    pub fn say(&mut self, epoch: u64, n: u64, input: Input) -> Result<Reply, Rejection> {
        self.decide(input, Header { mark: Some(Mark { epoch, n }), ..Header::default() })
    }

    pub fn twin(&self) -> &Twin {
        self.live.twin()
    }

    pub fn closed(&self, epoch: u64) -> bool {
        self.got.iter().any(|(of, what)| *of == epoch && *what == Delivery::Close(Closed::NotAuthorized))
    }

    pub fn events(&self) -> Vec<&str> {
        let effects = self.journal.iter().flat_map(|transition| &transition.effects);
        let names = effects.filter_map(|effect| match effect {
            Effect::Event { name, .. } => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }
}

pub fn granted(reply: Result<Reply, Rejection>) -> Result<Credential, Rejection> {
    match reply? {
        Reply::Granted(credential) => Ok(*credential),
        other => panic!("{other:?}"),
    }
}

pub fn invitation(of: u8) -> Invitation {
    Invitation { verifier: Verifier::Generated(Fingerprint([of; 32])), expires: None }
}

pub fn key_for(request: u8) -> Grant {
    let sealed = Sealed(Bytes::copy_from_slice(&[request; 60]));
    let secret = Secret::Key { digest: Fingerprint([request; 32]), sealed };
    Grant { secret, expires: None, request: Fingerprint([request; 32]) }
}

pub fn certificate_for(request: u8, expires: Timestamp) -> Grant {
    let secret = Secret::Certificate {
        fingerprint: Fingerprint([request; 32]),
        authority: Name::fixed("devices"),
        certificate: Sealed(Bytes::from_static(b"DER")),
    };
    Grant { secret, expires: Some(expires), request: Fingerprint([request; 32]) }
}

pub fn report() -> Input {
    Input::Report(Json::parse(br#"{"on":true}"#, &Limits::default()).unwrap())
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Rejection>, code: Code) {
    assert_eq!(answer.unwrap_err().code(), code);
}
