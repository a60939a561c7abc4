//! A token that a device signs for itself with its key, so that the key itself never travels:
//! `twt_BASE64URL(claims).BASE64URL(signature)`.
//!
//! The claims are a JSON object: `{"tenant", "device", "aud", "exp", "slot"}`. `exp` is in seconds since 1970, and the
//! token is good until then; `aud` is the node's audience (`twinfold` where nothing else is configured); `slot` is the
//! number of the credential whose key has signed, which the device was told with the key. The signature is
//! HMAC-SHA-256 over `twt_BASE64URL(claims)` under the key's 32 bytes. base64url is without padding.
//!
//! Claims are read before anything is verified, to find the key, so that they are small and have no room for anything else.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use twins::id::TwinId;
use twins::time::Timestamp;

use super::key::Key;
use super::vault::is_same;

/// What every such token begins with.
pub const PREFIX: &str = "twt_";
/// The most bytes that one may have.
const BYTES_MAX: usize = 1_024;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The tenant of the device.
    pub tenant: String,
    /// The id of the device.
    pub device: String,
    /// The audience of the nodes that it is for.
    pub aud: String,
    /// Until when it is good, in seconds since 1970.
    pub exp: u64,
    /// The number of the credential whose key signed it.
    pub slot: u64,
}

/// A token whose signature was not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified<'a> {
    claims: Claims,
    twin: TwinId,
    signed: &'a str,
    signature: Vec<u8>,
}

impl Claims {
    /// The token that says this, signed with the device's key.
    pub fn sign(&self, key: &Key) -> String {
        let claims = serde_json::to_vec(self).expect("strings and numbers can be written");
        let signed = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(&[signed.as_bytes()]);
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.0))
    }
}

impl<'a> Unverified<'a> {
    /// Reads one. `None` where the text is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.split_once('.').filter(|_| text.len() <= BYTES_MAX)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(signed.strip_prefix(PREFIX)?).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let twin = TwinId::new(&claims.tenant, &claims.device).ok()?;
        Some(Self { claims, twin, signed, signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()? })
    }

    /// The device that it says it is of.
    pub fn twin(&self) -> &TwinId {
        &self.twin
    }

    /// The number of the credential that it says has signed it.
    pub fn slot(&self) -> u64 {
        self.claims.slot
    }

    /// Whether this key signed it, for nodes of this audience, and it is good now.
    pub fn is_good(&self, key: &Key, audience: &str, now: Timestamp) -> bool {
        let signature = key.sign(&[self.signed.as_bytes()]);
        let ends = Timestamp::from_millis(0) + Duration::from_secs(self.claims.exp);
        is_same(&signature.0, &self.signature) && self.claims.aud == audience && now < ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn claims() -> Claims {
        let text = |text: &str| text.to_owned();
        Claims {
            tenant: text("default"),
            device: text("pump-1"),
            aud: text("twinfold"),
            exp: 1_767_225_601,
            slot: 3,
        }
    }

    #[test]
    fn a_token_is_good_for_its_device_audience_and_time() {
        let (key, text) = (Key::new().unwrap(), claims());
        let text = text.sign(&key);
        let token = Unverified::parse(&text).unwrap();

        assert_eq!((token.twin().as_str(), token.slot()), ("default/pump-1", 3));
        assert!(token.is_good(&key, "twinfold", NOW));
        assert!(!token.is_good(&key, "other", NOW));
        assert!(!token.is_good(&key, "twinfold", NOW + Duration::from_secs(1)));
        assert!(!token.is_good(&Key::new().unwrap(), "twinfold", NOW));
    }

    #[test]
    fn what_was_changed_is_not_good() {
        let key = Key::new().unwrap();
        let text = claims().sign(&key);
        let other = Claims { exp: u64::MAX, ..claims() }.sign(&Key::new().unwrap());
        let ((claimed, _), (_, signature)) = (other.split_once('.').unwrap(), text.split_once('.').unwrap());

        let is_good =
            |text: &str| Unverified::parse(text).is_some_and(|token| token.is_good(&key, "twinfold", NOW));
        assert!(is_good(&text));
        for changed in [&format!("{claimed}.{signature}"), &format!("{claimed}."), &text[..text.len() - 4]] {
            assert!(!is_good(changed), "{changed}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let text = claims().sign(&Key::new().unwrap());
        let long = Claims { tenant: "x".repeat(900), ..claims() }.sign(&Key::new().unwrap());
        let odd = format!(
            "{PREFIX}{}.AA",
            BASE64_URL_SAFE_NO_PAD.encode(r#"{"tenant":"a","device":"b","admin":true}"#)
        );
        for other in ["", "twt_", "twt_.", "twt_e30.", &text[4..], &text.replace('.', ""), &long, &odd] {
            assert_eq!(Unverified::parse(other), None, "{other}");
        }
    }

    /// As anybody would make one, without this code: the format is public.
    #[test]
    fn the_format_is_as_it_is_documented() {
        let key = Key::parse("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc").unwrap();

        assert_eq!(claims().sign(&key), EXPECTED);
    }

    const EXPECTED: &str = concat!(
        "twt_eyJ0ZW5hbnQiOiJkZWZhdWx0IiwiZGV2aWNlIjoicHVtcC0xIiwiYXVkIjoidHdpbmZvbGQiLCJleHAiOjE3Nj",
        "cyMjU2MDEsInNsb3QiOjN9.DVk1rPejc3mrJGAzkTlTRcHHXuL_UzA-aPc0vSISOEs",
    );
}
