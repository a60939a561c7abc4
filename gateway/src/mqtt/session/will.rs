//! A will is what the twin says for the device if its connection ends without a DISCONNECT: checked at CONNECT like a
//! publish, when there is still somebody to tell, and kept by the twin.
//!
//! The user property `time` of a will is not its event time. It was written at CONNECT, before what the will tells has
//! happened, while that the connection ended is known when it has; so its event time is when it is said. (And the
//! will's transition is that of the end of the connection, which happened no earlier.) A member `$time` of its payload is
//! part of what the device wants said, and counts as in any publish.

use twins::id::TwinId;
use twins::input::Input;
use twins::will::{WILL_BYTES_MAX, Words};

use super::super::Options;
use super::login::Rights;
use super::packet::{Connect, Will};
use super::publish::{self, Meaning};
use super::reason::Reason;

/// The will of a CONNECT, as its twin keeps it.
pub(super) fn of(
    connect: &Connect,
    twin: &TwinId,
    rights: Rights,
    options: &Options,
) -> Result<Option<Box<twins::will::Will>>, (Reason, String)> {
    let Some(Will { message, delay_s }) = &connect.will else { return Ok(None) };
    if message.payload.len() > WILL_BYTES_MAX {
        let bytes = message.payload.len();
        return Err((Reason::Quota, format!("the will has {bytes} bytes; the limit is {WILL_BYTES_MAX}")));
    }
    let meaning = publish::understand(message, twin, rights, options);
    let words = match meaning.map_err(|refusal| (refusal.reason, format!("the will: {}", refusal.message)))? {
        Meaning::Input(Input::Sample { channel, body }, _) => Words::Sample { channel, body },
        Meaning::Input(Input::Telemetry(body), _) => Words::Telemetry(body),
        Meaning::Input(Input::Report(patch), _) => Words::Report(patch),
        _ => return Err((Reason::TopicName, "a will goes to the device's own telemetry or reported".into())),
    };
    Ok(Some(Box::new(twins::will::Will { words, delay_s: *delay_s, due: None })))
}
