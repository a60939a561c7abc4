//! Enhanced authentication: a client that names a method is asked for an answer before it is let in, and may be asked again
//! when it wants to. What is asked, and what is right, is [`crate::trust::challenge`]'s.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use runtime::access::Denied;
use twins::header::Header;
use twins::input::Input;
use twins::rejection::Rejection;
use twins::trust::Proof;

use crate::trust::challenge::METHOD;

use super::answer::Then;
use super::login::{Admitted, Login};
use super::packet::{Auth, Connect};
use super::reason::Reason;
use super::{Phase, Session};

/// Where the authentication of a connected client is that authenticates anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The challenge is being made.
    Asked,
    /// It was asked this.
    Challenged([u8; 32]),
    /// Its answer is being looked at.
    Answered,
}

impl Session {
    /// A CONNECT that names a method. What it may not say beside that is an error.
    pub(super) fn challenge(&mut self, now: Instant, connect: Box<Connect>) {
        let wrong = match &connect.authentication {
            Some((method, _)) if method != METHOD => {
                Some((Reason::AuthenticationMethod, "the only method is TWINFOLD-HMAC-SHA-256"))
            }
            _ if !self.certificates.is_empty() => {
                Some((Reason::AuthenticationMethod, "a certificate and a challenge are two ways; take one"))
            }
            _ if connect.password.is_some() => {
                Some((Reason::AuthenticationMethod, "a password and a challenge are two ways; take one"))
            }
            Some((_, data)) if !data.is_empty() => Some((
                Reason::Protocol,
                "the node begins with this method: there is no data before its challenge",
            )),
            _ => None,
        };
        self.phase = Phase::Challenged { connect, random: None, since: now };
        match wrong {
            Some((reason, why)) => self.close(now, reason, why),
            None => self.actions.challenge = true,
        }
    }

    /// The random bytes that the last actions asked for.
    pub(in super::super) fn challenged(&mut self, now: Instant, bytes: Option<[u8; 32]>) {
        let Some(bytes) = bytes else {
            return self.close(now, Reason::Unspecified, "there are no random numbers");
        };
        match (&mut self.phase, &mut self.again) {
            (Phase::Challenged { random, .. }, _) => *random = Some(bytes),
            (Phase::Connected, Some(again @ Again::Asked)) => *again = Again::Challenged(bytes),
            _ => return,
        }
        self.codec.challenge(METHOD, &bytes, &mut self.actions.bytes);
        self.go_on(now);
    }

    /// The client sent an AUTH.
    pub(super) fn authenticate(&mut self, now: Instant, auth: Auth) {
        let Auth { again, authentication } = auth;
        let answer = authentication.filter(|(method, _)| method == METHOD).map(|(_, data)| data);
        let Some(answer) = answer else {
            return self.close(now, Reason::Protocol, "an AUTH names the method of the CONNECT");
        };
        match (&self.phase, self.again) {
            (Phase::Challenged { random: Some(random), .. }, _) if !again => {
                let random = *random;
                let Phase::Challenged { connect, .. } = std::mem::replace(&mut self.phase, Phase::Silent)
                else {
                    return;
                };
                self.actions.login = Some(self.login(&connect, Some((random, answer)), Arc::default()));
                self.phase = Phase::Admitting(connect);
            }
            (Phase::Connected, None) if again && self.method.is_some() => {
                self.again = Some(Again::Asked);
                self.actions.challenge = true;
            }
            (Phase::Connected, Some(Again::Challenged(random))) if !again => {
                let Some(connect) = &self.method else { return };
                self.actions.login = Some(self.login(connect, Some((random, answer)), Arc::default()));
                self.again = Some(Again::Answered);
            }
            _ => self.close(now, Reason::Protocol, "an AUTH that has no place here"),
        }
    }

    /// What came of authenticating anew: the connection goes on by that, once its twin knows, or ends.
    pub(super) fn authenticated(&mut self, now: Instant, admitted: Result<Admitted, Denied>) {
        let Some(device) = &self.device else { return };
        match admitted {
            Ok(admitted) if admitted.twin != device.twin => {
                self.close(now, Reason::NotAuthorized, "this is another device");
            }
            Ok(admitted) if admitted.proof == device.proof => self.proved(now, admitted.proof, Ok(())),
            Ok(admitted) => {
                let header = Header { proof: Some(Box::new(admitted.proof.clone())), ..Header::default() };
                self.tell_at(now, Input::Prove, header, Then::Proved(admitted.proof));
                self.go_on(now);
            }
            Err(denied) => {
                // A DISCONNECT knows no wrong credentials.
                let (reason, why) = match super::connect::denied(denied) {
                    (Reason::Credentials, why) => (Reason::NotAuthorized, why),
                    other => other,
                };
                self.shut(now, reason, &why);
            }
        }
    }

    /// The twin's answer to that.
    pub(super) fn proved(&mut self, now: Instant, proof: Proof, taken: Result<(), Rejection>) {
        self.again = None;
        match taken {
            Ok(()) => {
                self.device.iter_mut().for_each(|device| device.proof = proof.clone());
                self.codec.authenticated(METHOD, &mut self.actions.bytes);
                self.go_on(now);
            }
            Err(rejection) => self.shut(now, Reason::NotAuthorized, rejection.message()),
        }
    }

    /// What a client shows, with its answer to a challenge where there was one.
    pub(super) fn login(
        &self,
        connect: &Connect,
        answer: Option<([u8; 32], Vec<u8>)>,
        certificates: Arc<[Bytes]>,
    ) -> Login {
        let Connect { username, client, password, .. } = connect;
        let (username, client, password) = (username.clone(), client.clone(), password.clone());
        Login { username, client, password, certificates, answer, address: self.origin.ip }
    }
}
