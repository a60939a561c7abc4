//! The text of a token: `twf_ID_SECRET`, where `ID` is its number in 16 hexadecimal digits and `SECRET` 32 random bytes
//! in base64url.
//!
//! The number finds what is known of the token, and the secret proves that it is the one: of it the directory has the
//! SHA-256. A secret of 256 bits needs no slow hash, and no comparison in constant time either: of what is compared,
//! whoever guesses knows no secret that leads to a chosen hash.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use runtime::directory::TokenId;
use runtime::directory::audit::{Fingerprint, hash};

use super::vault::{self, random};

/// What every token begins with, so that people and programs recognise one where it should not be.
const PREFIX: &str = "twf_";
/// How long a token lives where nobody says: 90 days.
pub const LIFE: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How many characters the number has, and the secret.
const LENGTHS: (usize, usize) = (16, 43);

/// A token, as its bearer has it. It is shown once, to whoever it was made for.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    id: TokenId,
    secret: [u8; 32],
}

impl Text {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new() -> Result<Self, vault::Error> {
        Ok(Self { id: TokenId(u64::from_be_bytes(random()?)), secret: random()? })
    }

    /// Reads one. `None` where the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_at_checked(LENGTHS.0)?;
        let id = id.parse().ok()?;
        let secret = BASE64_URL_SAFE_NO_PAD.decode(secret.strip_prefix('_')?).ok()?;
        Some(Self { id, secret: secret.try_into().ok()? })
    }

    /// The first one in a longer text, a URL say.
    pub fn find(text: &str) -> Option<Self> {
        let length = PREFIX.len() + LENGTHS.0 + 1 + LENGTHS.1;
        let begins = text.match_indices(PREFIX).map(|(at, _)| at);
        begins.filter_map(|at| text.get(at..at + length)).find_map(Self::parse)
    }

    /// Its number.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// What the directory has of its secret.
    pub fn digest(&self) -> Fingerprint {
        hash(&self.secret)
    }

    /// The text itself, for its bearer alone.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, BASE64_URL_SAFE_NO_PAD.encode(self.secret))
    }
}

/// Its number: the secret never gets into a log by accident.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_revealed() {
        let token = Text::new().unwrap();
        let text = token.reveal();

        assert_eq!(text.len(), 64);
        assert_eq!(Text::parse(&text), Some(token.clone()));
        assert_ne!(Text::new().unwrap(), token);
        assert!(!format!("{token:?}").contains(&text[21..]));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let text = Text::new().unwrap().reveal();
        for other in
            ["", "twf_", &text[..63], &format!("{text}A"), &text.to_uppercase(), &text.replace("twf", "twg")]
        {
            assert_eq!(Text::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_is_found_in_a_url() {
        let token = Text::new().unwrap();
        let url = format!("/v1/devices?twf_=x&token={}&limit=1", token.reveal());

        assert_eq!(Text::find(&url), Some(token));
        assert_eq!(Text::find("/v1/devices/twf_0123456789abcdef_pump?a=ä"), None);
    }
}
