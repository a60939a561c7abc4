//! The end of a connection: the client is told if it can be, and the twin in any case.

use std::time::{Duration, Instant};

use runtime::error::Error;
use runtime::router::Submission;
use twins::header::Header;
use twins::input::Input;
use twins::name::Name;

use super::answer::Then;
use super::reason::Reason;
use super::{Phase, Session};

/// How long what was said may wait for its answer when the node stops. A commit takes milliseconds; what waits longer
/// waits for a disk that has no room.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct End {
    /// As the twin's history names it.
    pub(in super::super) words: &'static str,
    /// In more words, for the log.
    pub(in super::super) why: String,
    /// The twin says what the device wants said.
    with_will: bool,
    /// The client wants its session kept for so many seconds.
    expiry_s: Option<u32>,
    /// The twin knows.
    known: bool,
}

impl Session {
    /// The client said DISCONNECT.
    pub(super) fn disconnected(&mut self, now: Instant, with_will: bool, expiry_s: Option<u32>) {
        let is_kept = self.device.as_ref().is_some_and(|device| device.kept);
        if !is_kept && expiry_s.is_some_and(|expiry_s| expiry_s > 0) {
            return self.close(
                now,
                Reason::Protocol,
                "a session that ends with its connection cannot be kept",
            );
        }
        let expiry_s = expiry_s.map(|expiry_s| expiry_s.min(self.options.session_expiry_max_s()));
        let words = "closed by the client";
        self.finish(now, End { words, why: String::new(), with_will, expiry_s, known: false });
    }

    /// The socket is gone.
    pub(in super::super) fn lost(&mut self, now: Instant, why: &str) {
        let (words, why) = ("connection lost", why.to_owned());
        self.finish(now, End { words, why, with_will: true, expiry_s: None, known: false });
    }

    /// What lets the device in beside its own twin does so no more. Its will is not said, as when its twin shuts it out:
    /// whoever is shut out says nothing more.
    pub(in super::super) fn shut_out(&mut self, now: Instant) {
        let why = "its tenant, its enrolment group or its authority lets it in no more";
        self.end_with(now, Reason::NotAuthorized, why, false);
    }

    /// The node stops: what the client said is answered first, for a while.
    pub(in super::super) fn stop(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Connected) && !self.queue.is_empty() {
            self.draining = Some(now + DRAIN);
        } else {
            self.drained(now);
        }
    }

    /// What was said is answered, or waited long enough.
    pub(super) fn drained(&mut self, now: Instant) {
        self.close(now, Reason::ShuttingDown, "the node stops");
    }

    /// Ends the connection from this side. The client is told as far as its version can say it.
    pub(super) fn close(&mut self, now: Instant, reason: Reason, why: &str) {
        self.end_with(now, reason, why, reason != Reason::Administrative);
    }

    /// Closes the connection of one that is not let in any more, who says nothing more: no will either.
    pub(super) fn shut(&mut self, now: Instant, reason: Reason, why: &str) {
        self.end_with(now, reason, why, false);
    }

    fn end_with(&mut self, now: Instant, reason: Reason, why: &str, with_will: bool) {
        match self.phase {
            Phase::Challenged { .. } | Phase::Admitting(_) | Phase::Connecting(_) => {
                self.codec.turn_away(reason, why, &mut self.actions.bytes);
            }
            Phase::Connected => self.codec.disconnect(reason, why, &mut self.actions.bytes),
            Phase::Silent | Phase::Ending(_) | Phase::Over => {}
        }
        let known = matches!(reason, Reason::TakenOver | Reason::Administrative);
        let (words, why) = (reason.words(), why.to_owned());
        self.finish(now, End { words, why, with_will, expiry_s: None, known });
    }

    /// Closes the connection if the client was silent, or an input unanswered, for too long.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.listens() && self.keep_alive.is_some_and(|keep_alive| self.heard + keep_alive <= now) {
            return self.close(
                now,
                Reason::KeepAlive,
                "nothing was heard for one and a half times the keep-alive",
            );
        }
        let Some(error) = self.queue.overdue(now, self.options.answer_timeout) else { return };
        let reason = match error {
            Some(Error::Overloaded { .. } | Error::Unwritten { .. }) => Reason::Busy,
            _ => Reason::Unspecified,
        };
        let why = error.map_or_else(|| "the twin did not answer in time".to_owned(), ToString::to_string);
        self.close(now, reason, &why);
    }

    /// What its twin must hear of a connection that is cut off or failed. Nothing if it was told already; to be told
    /// twice does no harm. It relies on nothing but who the device is, since the rest may be half-way through a step.
    ///
    /// `epoch` is the one that came too late to be taken.
    pub(in super::super) fn last_words(&mut self, epoch: Option<u64>) -> Option<Submission> {
        let device = self.device.as_mut()?;
        device.epoch = epoch.unwrap_or(device.epoch);
        if device.epoch == 0 || epoch.is_none() && matches!(self.phase, Phase::Over) {
            return None;
        }
        let (epoch, reason) = (device.epoch, Name::fixed("cut off"));
        let (principal, transport) = (device.principal.clone(), self.origin.transport);
        // Nobody looks at the answer.
        Some(Submission {
            token: 0,
            twin: device.twin.clone(),
            header: Header { principal, transport, ..Header::default() },
            input: Input::Disconnect { epoch, reason, with_will: true, expiry_s: None },
        })
    }

    fn finish(&mut self, now: Instant, end: End) {
        if matches!(self.phase, Phase::Ending(_) | Phase::Over) {
            return;
        }
        let connected = matches!(self.phase, Phase::Connected);
        self.phase = Phase::Ending(now + self.options.answer_timeout);
        self.end = Some(end);
        self.actions.close = true;
        self.unread.clear();
        self.outbox = super::Outbox::default();
        if connected {
            self.tell_end(now);
        }
        self.settle(now);
    }

    /// Tells the twin that the connection ended. That has no place in the session, so that it is taken whatever became of
    /// what was said before.
    pub(super) fn tell_end(&mut self, now: Instant) {
        let (Some(device), Some(end)) = (&self.device, &self.end) else { return };
        if device.epoch == 0 || end.known {
            return;
        }
        let (epoch, reason, with_will, expiry_s) =
            (device.epoch, Name::fixed(end.words), end.with_will, end.expiry_s);
        let input = Input::Disconnect { epoch, reason, with_will, expiry_s };
        self.submit(now, input, Header::default(), Then::Nothing);
    }
}
