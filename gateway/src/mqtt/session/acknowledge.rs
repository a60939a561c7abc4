//! The device acknowledges a message.

use std::time::Instant;

use twins::input::{Input, Message, Said};
use twins::json::Json;

use super::Session;
use super::answer::Then;

impl Session {
    /// `refused` is MQTT 5's way to say no, which for a command is an outcome. A desired change that is refused was
    /// seen: what the device makes of it, it reports.
    pub(super) fn acknowledged(&mut self, now: Instant, id: u16, refused: bool) {
        let input = match self.outbox.acknowledged(id) {
            Some(Message::Command(id)) if refused => {
                let result = Json::of("refused by its PUBACK").ok();
                Some(Input::Outcome { id, outcome: Said::Rejected, result })
            }
            message => message.map(Input::Acknowledge),
        };
        if let Some(input) = input {
            self.tell(now, input, Then::Nothing);
        }
        self.send(now);
    }
}
