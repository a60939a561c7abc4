//! Tokens of users and services: what is kept of one, which is not the token.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use twins::name::Name;
use twins::time::Timestamp;

use super::audit::Fingerprint;
use super::role::Roles;

/// The longest that a token may live: ten years. There is none without an end.
pub const LIFE_MAX: Duration = Duration::from_secs(3_653 * 24 * 3_600);

/// The number of a token, which stands in its text and is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct TokenId(#[n(0)] pub u64);

/// What is known of a token. Without the text it cannot be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Of which tenant.
    pub tenant: String,
    /// Of which of its users or services.
    pub owner: Name,
    /// The hash of the secret.
    pub digest: Fingerprint,
    /// What it may be used for at most: what these roles grant. `None`: for all that its owner may.
    pub scope: Option<Roles>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it lets nobody in.
    pub expires: Timestamp,
    /// When its text was first seen where it can be read by others: somebody should remove it.
    pub exposed: Option<Timestamp>,
}

impl Token {
    /// Whether a token with this scope goes no further than this one, whose owner has these roles. What a policy denies to
    /// a role of the scope stays denied: such a role is kept, unless the owner has it anyway.
    pub fn covers(&self, owner: Roles, asked: Option<Roles>) -> bool {
        match (self.scope, asked) {
            (None, _) => true,
            (Some(limit), Some(asked)) => {
                limit.cover(asked) && limit.without(owner).without(asked).is_empty()
            }
            (Some(_), None) => false,
        }
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not sixteen lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a token is 16 hexadecimal digits")]
pub struct NotAnId;

impl FromStr for TokenId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(NotAnId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_in_no_other_way() {
        let id = TokenId(0x00ab_0000_0000_0001);
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in ["ab0000000000001", "00AB000000000001", "+0ab000000000001", "00ab0000000000010", ""] {
            assert_eq!(other.parse::<TokenId>(), Err(NotAnId), "{other}");
        }
    }
}
