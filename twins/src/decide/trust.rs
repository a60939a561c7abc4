//! Steps in the life of a device: credentials that come and go, and whether it may come in. Each is an event too.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::header::Principal;
use crate::id::TwinId;
use crate::input::Input;
use crate::json::Json;
use crate::name::Name;
use crate::rejection::{Code, Rejection};
use crate::reply::{Closed, Delivery, Reply};
use crate::session::Session;
use crate::time::Timestamp;
use crate::transition::Change;
use crate::trust::{
    Activation, By, Chain, Change as Trusted, Credential, Grant, Invitation, Proof, SLOTS, Sort, Standing, Step, Used, What,
};

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn trust(&mut self, step: &Step) -> Result<Reply, Rejection> {
        if let Some(by) = self.twin().trust().replaced_by() {
            return match &step.what {
                What::Replace { by: wanted } if wanted == by => self.replace_again(&by.clone(), step.reason.as_ref()),
                _ => Err(self.barred()),
            };
        }
        let reason = step.reason.as_ref();
        match &step.what {
            What::Invite(invitation) => {
                let issue = self.invite(invitation);
                self.close_invalid("invited anew");
                self.announce_trust("invited", Some(issue), reason);
            }
            What::Activate { by, grant } => return self.activate(*by, grant, reason),
            What::Issue { grant, grace } => return self.issue(grant, *grace, reason),
            What::Withdraw(Some(issue)) => {
                if self.twin().trust().credential(*issue).is_none() {
                    let why = format!("`{}` has no credential {issue}", self.id.id());
                    return Err(Rejection::new(Code::UnknownCredential, why));
                }
                self.withdraw(*issue, "credential revoked");
                self.announce_trust("revoked", Some(*issue), reason);
            }
            What::WithdrawAll(sort) => self.withdraw_sort(*sort, reason)?,
            What::Withdraw(None) => {
                self.withdraw_all("credentials revoked");
                if self.twin().trust().activation().is_some() {
                    self.change(Change::Trust(Trusted::Closed));
                }
                if self.twin().trust().group().is_some() {
                    self.change(Change::Trust(Trusted::Barred));
                }
                self.close("credentials revoked", |_| true);
                self.announce_trust("revoked", None, reason);
            }
            What::Stand(standing) => self.stand(*standing, reason),
            What::Replace { by } => return self.replace(by, reason),
        }
        Ok(Reply::Twin(self.twin_shared()))
    }

    /// Sets an activation key, and returns its number.
    pub(super) fn invite(&mut self, invitation: &Invitation) -> u64 {
        let Invitation { verifier, expires } = invitation.clone();
        let issue = self.twin().trust().next_issue();
        let activation = Activation { issue, verifier, expires, used: None };
        self.change(Change::Trust(Trusted::Invited(activation)));
        issue
    }

    fn activate(&mut self, by: By, grant: &Grant, reason: Option<&Name>) -> Result<Reply, Rejection> {
        let now = self.header.received;
        if self.twin().trust().standing() == Standing::Disabled {
            return Err(self.barred());
        }
        if let By::Key(number) = by {
            let key = self.twin().trust().activation().filter(|key| key.issue == number && key.is_open(now));
            let Some(key) = key else {
                let why = format!("the activation key of `{}` is not valid any more", self.id.id());
                return Err(Rejection::new(Code::NotAuthorized, why));
            };
            if let Some(used) = key.used {
                return self.activate_again(used, grant, reason);
            }
        } else if let Some(granted) = self.granted(grant) {
            return Ok(granted);
        }
        self.withdraw_all("activated anew");
        let issue = self.grant(grant);
        if self.twin().trust().activation().is_some() {
            self.change(Change::Trust(Trusted::Activated(Used { request: grant.request, issue })));
        }
        self.announce_trust("activated", Some(issue), reason);
        Ok(self.granted(grant).expect("it has just been given"))
    }

    /// Whoever used the key is answered again; anybody else has stolen it, or was stolen from.
    fn activate_again(&mut self, used: Used, grant: &Grant, reason: Option<&Name>) -> Result<Reply, Rejection> {
        if used.request != grant.request {
            self.announce_trust("activation-conflict", Some(used.issue), reason);
            let why = format!("the activation key of `{}` was used for another request", self.id.id());
            return Err(Rejection::new(Code::AlreadyActivated, why));
        }
        self.granted(grant).ok_or_else(|| {
            let why = format!("what `{}` was given for this activation key was revoked or replaced", self.id.id());
            Rejection::new(Code::AlreadyActivated, why)
        })
    }

    fn issue(&mut self, grant: &Grant, grace: Duration, reason: Option<&Name>) -> Result<Reply, Rejection> {
        let now = self.header.received;
        let sort = grant.secret.sort();
        let trust = self.twin().trust();
        let of_sort = |credential: &&Credential| credential.sort() == sort;
        // A device may say the same request again years later, when it wants the next one.
        let is_repeat = |known: &Credential| {
            sort == Sort::Key || known.expires.is_none_or(|ends| now.since(known.since) < ends.since(now))
        };
        let known = trust.credentials().iter().filter(of_sort).rfind(|known| known.request == grant.request);
        if known.is_some_and(is_repeat)
            && let Some(granted) = self.granted(grant)
        {
            return Ok(granted);
        }
        let before: Vec<_> = trust.credentials().iter().filter(of_sort).cloned().collect();
        debug_assert!(before.len() <= SLOTS);
        // Whoever asks keeps what they came by, or the answer would find nobody.
        let own = self.header.proof.as_deref().and_then(Proof::credential);
        let own = own.and_then(|own| before.iter().find(|known| known.issue == own));
        if let Some(kept) = own.or(before.last()) {
            for other in before.iter().filter(|known| known.issue != kept.issue) {
                self.withdraw(other.issue, "credential replaced");
            }
            let expires = kept.expires.map_or(now + grace, |expires| expires.min(now + grace));
            self.change(Change::Trust(Trusted::Limited { issue: kept.issue, expires }));
        }
        let issue = self.grant(grant);
        let name = if before.is_empty() { "issued" } else { "rotated" };
        self.announce_trust(name, Some(issue), reason);
        Ok(self.granted(grant).expect("it has just been given"))
    }

    fn grant(&mut self, grant: &Grant) -> u64 {
        let Grant { secret, expires, request } = grant.clone();
        let issue = self.twin().trust().next_issue();
        let credential = Credential { issue, since: self.header.received, expires, secret, request };
        self.change(Change::Trust(Trusted::Issued(credential)));
        issue
    }

    /// The credential that this request was answered with, while it is valid.
    fn granted(&self, grant: &Grant) -> Option<Reply> {
        let now = self.header.received;
        let same = |known: &&Credential| known.request == grant.request && known.is_valid(now);
        let known = self.twin().trust().credentials().iter().rfind(same)?;
        Some(Reply::Granted(Box::new(known.clone())))
    }

    fn stand(&mut self, standing: Standing, reason: Option<&Name>) {
        if self.twin().trust().standing() == standing {
            return;
        }
        self.change(Change::Trust(Trusted::Stands(standing)));
        let name = match standing {
            Standing::Enabled => "enabled",
            Standing::Disabled => "disabled",
            Standing::Quarantined => "quarantined",
        };
        if standing == Standing::Disabled {
            self.close("disabled", |_| true);
        }
        self.announce_trust(name, None, reason);
    }

    fn withdraw_sort(&mut self, sort: Sort, reason: Option<&Name>) -> Result<(), Rejection> {
        let trust = self.twin().trust();
        let of_sort = trust.credentials().iter().filter(|credential| credential.sort() == sort);
        let issues: Vec<_> = of_sort.map(|credential| credential.issue).collect();
        if issues.is_empty() {
            let (id, sort) = (self.id.id(), sort.as_str());
            let group = trust.group().map(|group| format!("; its enrolment group `{group}` lets it in: revoke all"));
            let why = format!("`{id}` has no {sort} of this node{}", group.unwrap_or_default());
            return Err(Rejection::new(Code::UnknownCredential, why));
        }
        for issue in issues {
            self.withdraw(issue, "credential revoked");
            self.announce_trust("revoked", Some(issue), reason);
        }
        Ok(())
    }

    fn withdraw_all(&mut self, why: &'static str) {
        let all: Vec<_> = self.twin().trust().credentials().iter().map(|credential| credential.issue).collect();
        all.into_iter().for_each(|issue| self.withdraw(issue, why));
    }

    /// A credential goes, and whoever came with it.
    fn withdraw(&mut self, issue: u64, why: &'static str) {
        self.change(Change::Trust(Trusted::Withdrawn { issue }));
        self.close(why, |session| session.proof.credential() == Some(issue));
    }

    /// The credentials whose time is over go.
    pub(super) fn expire_credentials(&mut self) {
        let now = self.header.received;
        let over = |credential: &&Credential| !credential.is_valid(now);
        let over: Vec<_> = self.twin().trust().credentials().iter().filter(over).map(|c| c.issue).collect();
        for issue in over {
            self.withdraw(issue, "credential expired");
            self.announce_trust("expired", Some(issue), None);
        }
    }

    /// Those who came by what their group gave them go when that ends.
    pub(super) fn expire_sessions(&mut self) {
        let now = self.header.received;
        self.close("certificate expired", |session| session.proof.ends().is_some_and(|ends| ends <= now));
    }

    /// Ends connections whose right has ended. A will is not said: whoever is shut out says nothing more.
    pub(super) fn close(&mut self, why: &'static str, which: impl Fn(&Session) -> bool) {
        let epochs: Vec<_> = self.twin().sessions().connected().filter(|s| which(s)).map(|s| s.epoch).collect();
        for epoch in epochs {
            self.output(epoch, Delivery::Close(Closed::NotAuthorized));
            self.drop_will(epoch);
            self.change(Change::Disconnected { epoch, reason: Name::fixed(why) });
        }
    }

    /// Whether a connection may begin.
    pub(super) fn admit(&self, proof: &Proof) -> Result<(), Rejection> {
        if self.twin().trust().standing() == Standing::Disabled || self.twin().trust().replaced_by().is_some() {
            return Err(self.barred());
        }
        match self.twin().trust().holds(proof, self.header.received) {
            true => Ok(()),
            false => Err(self.not_valid()),
        }
    }

    /// Whether an input may pass: what the device says goes only as far as its standing does, and what it proved holds.
    pub(super) fn let_pass(&self, input: &Input) -> Result<(), Rejection> {
        if self.header.principal != Principal::Device {
            return Ok(());
        }
        let trust = self.twin().trust();
        let session = self.header.mark.and_then(|mark| self.twin().sessions().at(mark.epoch));
        let proof = match (&self.header.proof, session) {
            (Some(proof), _) => {
                self.admit(proof)?;
                Some(&**proof)
            }
            (None, session) => session.map(|session| &session.proof),
        };
        if proof.is_some_and(|proof| !trust.holds(proof, self.header.received)) {
            return Err(self.not_valid());
        }
        if let Some(Proof::Activation(number)) = proof {
            return self.let_activate(*number, input);
        }
        if input.is_of_management() {
            return Ok(());
        }
        if trust.standing() == Standing::Quarantined {
            let why = format!("`{}` is quarantined: neither telemetry nor control is let through", self.id.id());
            return Err(Rejection::new(Code::Quarantined, why));
        }
        Ok(())
    }

    /// Whoever has shown no more than the activation key may use it, and listen to the answer.
    fn let_activate(&self, number: u64, input: &Input) -> Result<(), Rejection> {
        let may = match input {
            Input::Connect { .. } | Input::Disconnect { .. } | Input::Subscribe(_) | Input::Unsubscribe(_) => true,
            Input::Trust(step) => matches!(step.what, What::Activate { by: By::Key(of), .. } if of == number),
            _ => false,
        };
        if may {
            return Ok(());
        }
        let why = format!("`{}` has shown its activation key, which is only good for activation", self.id.id());
        Err(Rejection::new(Code::NotAuthorized, why))
    }

    /// Ends the connections that came with what is not valid any more.
    pub(super) fn close_invalid(&mut self, why: &'static str) {
        let (now, trust) = (self.header.received, self.twin().trust().clone());
        self.close(why, |session| !trust.holds(&session.proof, now));
    }

    /// Whether a session is told of commands and desired changes.
    pub(super) fn is_cut_off(&self) -> bool {
        self.twin().trust().standing() != Standing::Enabled
    }

    fn not_valid(&self) -> Rejection {
        let why = format!("what `{}` has shown is not valid any more", self.id.id());
        Rejection::new(Code::NotAuthorized, why)
    }

    pub(super) fn barred(&self) -> Rejection {
        match self.twin().trust().replaced_by() {
            Some(by) => {
                let why = format!("`{}` has taken the place of `{}`", by.id(), self.id.id());
                Rejection::new(Code::Replaced, why)
            }
            None => Rejection::new(Code::Disabled, format!("`{}` is disabled", self.id.id())),
        }
    }

    /// Announces a step: which credential it was about, why, and where the chain is with it.
    pub(super) fn announce_trust(&mut self, name: &'static str, issue: Option<u64>, reason: Option<&Name>) {
        let credential = issue.and_then(|issue| self.twin().trust().credential(issue));
        let (sort, expires) = credential.map(|known| (known.sort().as_str(), known.expires)).unzip();
        self.announce_about(name, About { issue, sort, expires: expires.flatten(), ..About::why(reason) });
    }

    /// Announces a step, and where the chain is with it.
    pub(super) fn announce_about(&mut self, name: &'static str, about: About<'_>) {
        let Chain { length: n, head } = self.twin().trust().chain();
        let audit = Audit { n: *n, hash: head.to_string() };
        let data = Json::of(&Said { about, audit }).unwrap_or_else(|_| Json::null());
        self.announce(name, data);
    }
}

/// What an event says of a step; what does not belong to it is left out.
#[derive(Default, Serialize)]
pub(super) struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issue: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    /// The other device.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "id_alone")]
    pub(super) twin: Option<&'a TwinId>,
    /// The generation of the other device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
}

impl<'a> About<'a> {
    pub(super) fn why(reason: Option<&'a Name>) -> Self {
        Self { reason: reason.map(Name::as_str), ..Self::default() }
    }
}

#[derive(Serialize)]
struct Said<'a> {
    #[serde(flatten)]
    about: About<'a>,
    audit: Audit,
}

#[derive(Serialize)]
struct Audit {
    n: u64,
    hash: String,
}

fn id_alone<S: Serializer>(twin: &Option<&TwinId>, to: S) -> Result<S::Ok, S::Error> {
    twin.map(TwinId::id).serialize(to)
}
