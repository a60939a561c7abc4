//! The session, driven by hand: packets written byte by byte, so that the codec is tested and not trusted.

mod challenging;
mod connecting;
mod ending;
mod fuzz;
mod hearing;
mod hostile;
mod once;
mod pausing;
mod speaking;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::access::Permissive;
use runtime::error::{Error, Outcome};
use runtime::mailbox::Mail;
use runtime::router::Submission;
use twins::handshake::Handshakes;
use twins::header::Transport;
use twins::input::Input;
use twins::json::{Json, Limits};
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::{Delivery, Reply};
use twins::session::Subscription;

use super::super::Options;
use super::credentials::Application;
use super::login::Admitted;
use super::{Actions, Origin, Respond, Session};
use wire::Packet;

/// The epoch of every connection here.
const EPOCH: u64 = 7;

/// A session with somebody on each of its sides, who does nothing but what the test says.
struct Bench {
    session: Session,
    now: Instant,
    v5: bool,
    /// What was written to the client.
    out: Vec<u8>,
    /// What was submitted and not looked at.
    submitted: VecDeque<Submission>,
    responses: Vec<Respond>,
    applications: Vec<Application>,
    closed: bool,
}

impl Bench {
    fn with(options: Options) -> Self {
        let origin = Origin {
            node: (1, 2),
            transport: Transport::Mqtt,
            address: Name::fixed("127.0.0.1:9"),
            ip: [127, 0, 0, 1].into(),
            client: Name::fixed("assigned"),
        };
        let now = Instant::now();
        let session = Session::new(Arc::new(options), origin, now);
        let (out, submitted) = (Vec::new(), VecDeque::new());
        let (responses, applications) = (Vec::new(), Vec::new());
        Self { session, now, v5: true, out, submitted, responses, applications, closed: false }
    }

    /// A client `c` of the device `t-1` that is connected, and has read its CONNACK.
    fn connected(v5: bool) -> Self {
        Self::connected_with(v5, Options::default())
    }

    fn connected_with(v5: bool, options: Options) -> Self {
        let mut bench = Self::with(options);
        bench.v5 = v5;
        bench.send(&wire::Connect { v5, ..wire::Connect::default() }.bytes());
        bench.accept(false, Vec::new());
        assert_eq!(bench.packets()[0].kind(), wire::CONNACK);
        bench
    }

    /// The client sends.
    fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.session.received(self.now, bytes);
        self.act()
    }

    fn publish(&mut self, topic: &str, payload: &str, id: u16) -> &mut Self {
        let bytes = wire::publish(self.v5, topic, payload.as_bytes(), id);
        self.send(&bytes)
    }

    fn subscribe(&mut self, filters: &[(&str, u8)]) -> &mut Self {
        let bytes = wire::subscribe(self.v5, 1, filters);
        self.send(&bytes)
    }

    /// The client is subscribed to these, and has read its SUBACK.
    fn subscribed(mut self, filters: &[(&str, u8)]) -> Self {
        self.subscribe(filters);
        self.answer(Ok(Reply::Done));
        assert_eq!(self.packets()[0].kind(), wire::SUBACK);
        self
    }

    /// The twin accepts the connection.
    fn accept(&mut self, present: bool, subscriptions: Vec<Subscription>) -> &mut Self {
        self.accept_with(present, subscriptions, Handshakes::default())
    }

    /// The twin accepts the connection, in a session with these handshakes open.
    fn accept_with(
        &mut self,
        present: bool,
        subscriptions: Vec<Subscription>,
        handshakes: Handshakes,
    ) -> &mut Self {
        self.answer(Ok(Reply::Connected { epoch: EPOCH, present, subscriptions, handshakes }));
        self
    }

    /// The twin answers the oldest submission; returns what that was.
    fn answer(&mut self, outcome: Outcome) -> Input {
        let submission = self.submitted.pop_front().expect("something was submitted");
        self.mail(Mail::Reply { token: submission.token, outcome });
        submission.input
    }

    fn deliver(&mut self, what: Delivery) -> &mut Self {
        self.mail(Mail::Delivery { epoch: EPOCH, what })
    }

    fn mail(&mut self, mail: Mail) -> &mut Self {
        self.session.mail(self.now, &mut vec![mail]);
        self.act()
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.session.timeout(self.now);
        self.act();
        assert!(self.session.next_timeout().is_none_or(|next| next > self.now), "its driver would spin");
        self
    }

    /// What the client reads, since it last looked.
    fn packets(&mut self) -> Vec<Packet> {
        wire::split(&std::mem::take(&mut self.out), self.v5)
    }

    /// What is submitted, with its place in the session.
    fn inputs(&mut self) -> Vec<(u64, Input)> {
        let place = |header: &twins::header::Header| header.mark.map_or(0, |mark| mark.n);
        self.submitted
            .iter()
            .map(|submission| (place(&submission.header), submission.input.clone()))
            .collect()
    }

    /// Does what the session wants done; only presenting the login has consequences.
    fn act(&mut self) -> &mut Self {
        loop {
            let Actions { login, challenge, submissions, responses, applications, bytes, close } =
                self.session.actions();
            if challenge {
                self.session.challenged(self.now, Some([7; 32]));
            }
            self.closed |= close;
            self.submitted.extend(submissions);
            self.responses.extend(responses);
            self.applications.extend(applications);
            match (login, bytes.is_empty()) {
                (Some(login), _) => {
                    let identity = Permissive.named(login.shown());
                    let admitted = identity.and_then(|identity| Admitted::of(identity, &Permissive));
                    self.session.admitted(self.now, admitted);
                }
                (None, false) => {
                    self.out.extend(bytes);
                    self.session.written(self.now);
                }
                (None, true) if challenge => {}
                (None, true) => return self,
            }
        }
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn overloaded() -> Outcome {
    Err(Error::Overloaded { shard: 3, limit: "inputs" })
}

fn rejected(code: Code) -> Outcome {
    Err(Rejection::new(code, "no").into())
}
