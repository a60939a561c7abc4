//! A will is what the device says if its connection ends without a DISCONNECT: an input like any other, checked at
//! CONNECT, when there is still somebody to tell.

use twins::id::TwinId;
use twins::input::Input;

use super::super::Options;
use super::login::Rights;
use super::packet::{Connect, Will};
use super::publish::{self, Meaning};
use super::reason::Reason;

/// The input that the will of a CONNECT stands for.
pub(super) fn of(
    connect: &Connect,
    twin: &TwinId,
    rights: Rights,
    options: &Options,
) -> Result<Option<Input>, (Reason, String)> {
    let Some(Will { message, delay_s }) = &connect.will else { return Ok(None) };
    if connect.v5 && message.qos > 1 {
        return Err((Reason::Qos, "a will of QoS 2 is not supported; use QoS 1".into()));
    }
    if *delay_s > 0 && connect.keep {
        let why = "a will with a delay is not supported in a session that is kept; use a delay of 0";
        return Err((Reason::Implementation, why.into()));
    }
    let meaning = publish::understand(message, twin, rights, options);
    match meaning.map_err(|refusal| (refusal.reason, format!("the will: {}", refusal.message)))? {
        Meaning::Input(input @ (Input::Sample { .. } | Input::Telemetry(_) | Input::Report(_)), _) => {
            Ok(Some(input))
        }
        _ => Err((Reason::TopicName, "a will goes to the device's own telemetry or reported".into())),
    }
}
