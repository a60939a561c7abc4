//! A connection begins: its client is admitted, its twin is told, and only then the client.

use std::time::{Duration, Instant};

use runtime::access::Denied;
use runtime::error::{Error, Outcome};
use twins::header::Header;
use twins::input::Input;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::session;

use super::answer::Then;
use super::challenge::Again;
use super::codec::TooLarge;
use super::login::Admitted;
use super::packet::{Connect, Welcome};
use super::reason::Reason;
use super::will;
use super::{Device, Phase, Session};

/// How many topics a client may have under aliases.
const TOPIC_ALIAS_MAX: u16 = 8;

impl Session {
    pub(super) fn connect(&mut self, now: Instant, connect: Box<Connect>) {
        if connect.authentication.is_some() {
            return self.challenge(now, connect);
        }
        let certificates = std::mem::take(&mut self.certificates);
        let login = self.login(&connect, None, certificates);
        let keeps_nobody = connect.client.is_empty() && !connect.v5 && connect.keep;
        self.phase = Phase::Admitting(connect);
        match keeps_nobody {
            true => self.close(now, Reason::ClientId, "a session that is kept needs a client id"),
            false => self.actions.login = Some(login),
        }
    }

    /// The answer to the login of the last actions.
    pub(in super::super) fn admitted(&mut self, now: Instant, admitted: Result<Admitted, Denied>) {
        if self.again == Some(Again::Answered) {
            return self.authenticated(now, admitted);
        }
        let Phase::Admitting(connect) = std::mem::replace(&mut self.phase, Phase::Silent) else { return };
        let begun = self.begin(now, &connect, admitted);
        self.phase = Phase::Connecting(connect);
        if let Err((reason, why)) = begun {
            self.close(now, reason, &why);
        }
    }

    fn begin(
        &mut self,
        now: Instant,
        connect: &Connect,
        admitted: Result<Admitted, Denied>,
    ) -> Result<(), (Reason, String)> {
        let Admitted { twin, register, proof, principal, rights, account } = admitted.map_err(denied)?;
        self.account = account;
        let client = match &*connect.client {
            "" => Ok(self.origin.client.clone()),
            client => Name::new("the client id", client),
        };
        let client = client.map_err(|bad| (Reason::ClientId, bad.to_string()))?;
        let will = will::of(connect, &twin, rights, &self.options)?;
        let (keep, expiry_s) = (connect.keep, self.expiry_s(connect));
        let begins = session::Connect {
            client: client.clone(),
            keep,
            resumes: !connect.clean,
            connection: session::Connection {
                node: self.origin.node.0,
                generation: self.origin.node.1,
                transport: self.origin.transport,
                address: self.origin.address.clone(),
            },
            expiry_s,
            will,
            proof,
        };
        let proof = begins.proof.clone();
        self.device = Some(Device { twin, client, principal, proof, rights, epoch: 0, n: 0, kept: keep });
        self.submit(now, Input::Connect { connect: begins, register }, Header::default(), Then::Connect);
        Ok(())
    }

    /// The twin's answer.
    pub(super) fn connected(&mut self, now: Instant, outcome: Outcome) {
        let (present, subscriptions, handshakes) = match outcome {
            Ok(Reply::Connected { epoch, present, subscriptions, handshakes }) => {
                self.device.iter_mut().for_each(|device| device.epoch = epoch);
                (present, subscriptions, handshakes)
            }
            Ok(_) => return self.close(now, Reason::Unspecified, "the twin did not connect"),
            Err(error) => return self.close(now, of_error(&error), &error.to_string()),
        };
        match std::mem::replace(&mut self.phase, Phase::Connected) {
            Phase::Connecting(connect) => {
                self.subscriptions = subscriptions;
                self.heard = now;
                self.unreleased = handshakes.held().iter().map(|id| (*id, false)).collect();
                let released = handshakes.open().iter().filter(|open| open.released);
                self.outbox.push_releases(released.map(|open| open.packet));
                self.welcome(now, &connect, present);
                self.method = Some(connect).filter(|connect| connect.authentication.is_some());
                self.send(now);
            }
            // The client went while its twin was told.
            phase => {
                self.phase = phase;
                self.tell_end(now);
            }
        }
    }

    fn welcome(&mut self, now: Instant, connect: &Connect, present: bool) {
        let capped = self.cap_keep_alive(connect);
        let assigned = self.device.as_ref().filter(|_| connect.client.is_empty());
        let welcome = Welcome {
            present,
            receive_max: self.options.receive_max(),
            topic_alias_max: TOPIC_ALIAS_MAX,
            keep_alive: capped,
            assigned_client: assigned.map(|device| &*device.client),
            method: connect.authentication.as_ref().map(|(method, _)| &**method),
            expiry_s: self
                .expiry_s(connect)
                .filter(|expiry_s| connect.keep && connect.expiry_s != Some(*expiry_s)),
        };
        if let Err(TooLarge) = self.codec.welcome(&welcome, &mut self.actions.bytes) {
            self.close(now, Reason::PacketTooLarge, "the client takes no packet as large as a CONNACK");
        }
    }

    /// For how long the session is kept. MQTT 5 is told where that is less than it asked for; 3.1.1 knows no limit.
    fn expiry_s(&self, connect: &Connect) -> Option<u32> {
        if !connect.v5 {
            return None;
        }
        Some(connect.expiry_s.unwrap_or(u32::MAX).min(self.options.session_expiry_max_s()))
    }

    /// Keeps the keep-alive; returns it in seconds where it is another one than the client asked for.
    fn cap_keep_alive(&mut self, connect: &Connect) -> Option<u16> {
        let max_s = u16::try_from(self.options.keep_alive_max.as_secs()).unwrap_or(u16::MAX);
        let asked_s = connect.keep_alive;
        let capped = connect.v5 && (asked_s == 0 || asked_s > max_s);
        let keep_alive_s = if capped { max_s } else { asked_s };
        self.keep_alive = (keep_alive_s > 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 1500));
        capped.then_some(keep_alive_s)
    }
}

pub(super) fn denied(denied: Denied) -> (Reason, String) {
    let reason = match &denied {
        Denied::Unauthenticated(_) => Reason::Credentials,
        Denied::BadName(_) => Reason::ClientId,
        Denied::Forbidden(_) => Reason::NotAuthorized,
        Denied::Later(_) => Reason::Busy,
        Denied::Limited { wait: Some(_), .. } => Reason::ConnectionRate,
        Denied::Limited { wait: None, .. } => Reason::Quota,
    };
    (reason, denied.to_string())
}

fn of_error(error: &Error) -> Reason {
    match error {
        Error::Rejected(rejection) => of_rejection(rejection),
        Error::Overloaded { .. } => Reason::Busy,
        Error::Unwritten { .. } | Error::Unknown { .. } => Reason::Unavailable,
        Error::Stopping => Reason::ShuttingDown,
    }
}

fn of_rejection(rejection: &Rejection) -> Reason {
    match rejection.code() {
        Code::TooMany => Reason::Quota,
        Code::UnknownTwin | Code::NotAuthorized | Code::Disabled | Code::Quarantined | Code::Replaced => {
            Reason::NotAuthorized
        }
        Code::Malformed => Reason::ClientId,
        _ => Reason::Implementation,
    }
}
