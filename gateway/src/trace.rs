//! The trace that a request or a publish belongs to, by its `traceparent` (W3C trace context, section 3.2).

use twins::header::Trace;

/// The name of the header and of the user property.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Reads `00-{trace id}-{parent id}-{flags}`. What does not read as one is no trace, as the standard wants.
pub(crate) fn parse(traceparent: &str) -> Option<Trace> {
    let mut parts = traceparent.trim().split('-');
    let (version, id) = (hex(parts.next()?, 2)?, parts.next()?);
    let parent = u64::try_from(hex(parts.next()?, 16)?).ok().filter(|&parent| parent != 0)?;
    let sampled = hex(parts.next()?, 2)? & 1 == 1;
    // Version ff is none; later versions may have more parts.
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let id = hex(id, 32).filter(|&id| id != 0)?;
    Some(Trace { id: id.to_be_bytes(), parent: parent.to_be_bytes(), sampled })
}

/// A number of exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_goes_on_as_it_came() {
        for text in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-0000000077b34da6a3ce929d0e0e4736-000007aa0ba902b7-00",
        ] {
            let trace = parse(text).unwrap();
            assert_eq!(trace.traceparent(), text);
            assert_eq!(trace.to_string(), text[3..35]);
        }
        assert!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }

    #[test]
    fn what_is_no_trace_parent_is_no_trace() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
