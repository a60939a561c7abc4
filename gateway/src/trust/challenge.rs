//! A challenge instead of a password: a device proves that it has its key, and the key does not travel, nor anything that
//! could be shown a second time. It is the enhanced authentication of MQTT 5 (section 4.12), under the method
//! `TWINFOLD-HMAC-SHA-256`.
//!
//! ```text
//! device  CONNECT   username: TENANT/DEVICE or DEVICE, no password, method
//! node    AUTH 0x18 method, data: 32 random bytes
//! device  AUTH 0x18 method, data: HMAC-SHA-256(key, METHOD 0x00 random TENANT/DEVICE 0x00 CLIENT)
//! node    CONNACK   method
//! ```
//!
//! The tenant is always said in what is hashed, and the client id as the CONNECT has it. A device that is connected begins
//! anew with AUTH 0x19, and is answered AUTH 0x00. No library has the server's side of any such method; SCRAM, which they
//! have for brokers, is for passwords that people can remember, and these are random keys.

use runtime::access::Answer;
use twins::id::TwinId;

use super::key::Key;
use super::vault::is_same;

/// The method, as packets name it.
pub const METHOD: &str = "TWINFOLD-HMAC-SHA-256";

/// What a device with this key answers to a challenge.
pub fn answer(key: &Key, random: &[u8; 32], twin: &TwinId, client: &str) -> [u8; 32] {
    key.sign(&[METHOD.as_bytes(), &[0], random, twin.as_str().as_bytes(), &[0], client.as_bytes()]).0
}

/// Whether a device with this key has answered.
pub(super) fn is_answered(key: &Key, twin: &TwinId, client: &str, given: &Answer<'_>) -> bool {
    is_same(&answer(key, given.random, twin, client), given.mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_for_its_key_challenge_device_and_client() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        let twin = |id: &str| TwinId::parse(id).unwrap();
        let (random, pump) = ([7; 32], twin("acme/pump-1"));
        let mac = answer(&key, &random, &pump, "c");
        let is_good = |key, random, twin: &TwinId, client, mac: &[u8]| {
            is_answered(key, twin, client, &Answer { random, mac })
        };

        assert!(is_good(&key, &random, &pump, "c", &mac));
        assert!(!is_good(&other, &random, &pump, "c", &mac));
        assert!(!is_good(&key, &[8; 32], &pump, "c", &mac));
        assert!(!is_good(&key, &random, &twin("default/pump-1"), "c", &mac));
        assert!(!is_good(&key, &random, &pump, "d", &mac));
        assert!(!is_good(&key, &random, &pump, "c", &mac[..31]));
        assert!(!is_good(&key, &random, &pump, "c", &[]));
    }
}
