//! The key of a timer: what is due first is found first.

use twins::id::TwinId;
use twins::time::Timestamp;

/// A twin that has something to do at a time, as a key of [`Space::Timer`](super::Space::Timer): the time in
/// milliseconds, 8 bytes big-endian, then `tenant/id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When.
    pub due: Timestamp,
    /// Who.
    pub twin: TwinId,
}

impl Timer {
    /// The key.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = self.due.as_millis().to_be_bytes().to_vec();
        key.extend_from_slice(self.twin.as_str().as_bytes());
        key
    }

    /// Reads a key; none when it is not one.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (due, twin) = key.split_first_chunk()?;
        let twin = TwinId::parse(std::str::from_utf8(twin).ok()?).ok()?;
        Some(Self { due: Timestamp::from_millis(u64::from_be_bytes(*due)), twin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_time_and_read_back() {
        let timer = |ms, id| Timer {
            due: Timestamp::from_millis(ms),
            twin: TwinId::in_default_tenant(id).expect("a valid id"),
        };
        let timers = [timer(0, "z"), timer(255, "a"), timer(256, "a"), timer(256, "a1")];

        assert!(timers.is_sorted_by_key(Timer::key));
        assert!(timers.iter().all(|timer| Timer::parse(&timer.key()).as_ref() == Some(timer)));
    }

    #[test]
    fn what_is_no_key_is_none() {
        for bad in [&b""[..], b"1234567", b"12345678", b"12345678default/", b"12345678\xff/a"] {
            assert_eq!(Timer::parse(bad), None);
        }
    }
}
