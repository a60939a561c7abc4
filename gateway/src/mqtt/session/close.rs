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
    /// What the device said it would say.
    with_will: bool,
    /// The twin knows.
    known: bool,
}

impl Session {
    /// The client said DISCONNECT.
    pub(super) fn disconnected(&mut self, now: Instant, with_will: bool) {
        let words = "closed by the client";
        self.finish(now, End { words, why: String::new(), with_will, known: false });
    }

    /// The socket is gone.
    pub(in super::super) fn lost(&mut self, now: Instant, why: &str) {
        self.finish(
            now,
            End { words: "connection lost", why: why.to_owned(), with_will: true, known: false },
        );
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
        match self.phase {
            Phase::Admitting(_) | Phase::Connecting(_) => {
                self.codec.turn_away(reason, why, &mut self.actions.bytes);
            }
            Phase::Connected => self.codec.disconnect(reason, why, &mut self.actions.bytes),
            Phase::Silent | Phase::Ending(_) | Phase::Over => {}
        }
        let known = matches!(reason, Reason::TakenOver | Reason::Administrative);
        let with_will = reason != Reason::Administrative;
        self.finish(now, End { words: reason.words(), why: why.to_owned(), with_will, known });
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

    /// What its twin must hear of a connection that is cut off or failed: the will and the end. Nothing if it was told
    /// already; to be told twice does no harm. It relies on nothing but who the device is, since the rest may be
    /// half-way through a step.
    pub(in super::super) fn last_words(&mut self) -> Vec<Submission> {
        let Some(device) = &mut self.device else { return Vec::new() };
        if device.epoch == 0 || matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        let end = Input::Disconnect { epoch: device.epoch, reason: Name::fixed("cut off") };
        let (principal, transport) = (&device.principal, self.origin.transport);
        let submission = |(token, input)| Submission {
            token,
            twin: device.twin.clone(),
            header: Header { principal: principal.clone(), transport, ..Header::default() },
            input,
        };
        // Nobody looks at the answers.
        (0..).zip(device.will.take().into_iter().chain([end])).map(submission).collect()
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

    /// Tells the twin that the connection ended: the will first, then the end. Neither has a place in the session, so
    /// that they are taken whatever became of what was said before.
    pub(super) fn tell_end(&mut self, now: Instant) {
        let (Some(device), Some(end)) = (&mut self.device, &self.end) else { return };
        if device.epoch == 0 {
            return;
        }
        let epoch = device.epoch;
        let (known, reason) = (end.known, Name::fixed(end.words));
        let will = device.will.take().filter(|_| end.with_will);
        if let Some(will) = will {
            self.submit(now, will, Header::default(), Then::Nothing);
        }
        if !known {
            self.submit(now, Input::Disconnect { epoch, reason }, Header::default(), Then::Nothing);
        }
    }
}
