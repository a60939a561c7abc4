//! Who a twin is: a tenant and an id, in one string that is cheap to clone and to hash.

use std::fmt;
use std::sync::Arc;

/// The tenant of a node that serves only one.
pub const DEFAULT_TENANT: &str = "default";
/// The longest device id, in bytes (all are ASCII).
pub const ID_BYTES_MAX: usize = 128;
/// The longest tenant name, in bytes.
pub const TENANT_BYTES_MAX: usize = 64;

/// A twin's address: (tenant, id), written `tenant/id`.
///
/// Neither part can hold a `/`, so the text is unambiguous and orders twins by tenant first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TwinId(Arc<str>);

/// Why a name cannot be a tenant or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no bytes, or too many.
    #[error("{what} `{name}` has {length} bytes; it needs 1 to {max}")]
    Length {
        /// `device id` or `tenant`.
        what: &'static str,
        /// What was given, cut to a readable length.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The most it may have.
        max: usize,
    },
    /// It holds something other than `A-Z a-z 0-9 . _ ~ : @ -`.
    #[error("{what} `{name}` holds {character:?}; only A-Z a-z 0-9 . _ ~ : @ - are allowed")]
    Character {
        /// `device id` or `tenant`.
        what: &'static str,
        /// What was given, cut to a readable length.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// `me`, `.` and `..` mean something else in topics and paths.
    #[error("{what} `{name}` is reserved; choose another")]
    Reserved {
        /// `device id` or `tenant`.
        what: &'static str,
        /// What was given.
        name: String,
    },
}

impl TwinId {
    /// Makes an address of two names from outside.
    ///
    /// # Errors
    /// Refuses names of a wrong length, with other characters than `A-Z a-z 0-9 . _ ~ : @ -`, and reserved ones.
    pub fn new(tenant: &str, id: &str) -> Result<Self, Error> {
        check("tenant", tenant, TENANT_BYTES_MAX)?;
        check("device id", id, ID_BYTES_MAX)?;
        Ok(Self(format!("{tenant}/{id}").into()))
    }

    /// An address in the [default tenant](DEFAULT_TENANT).
    ///
    /// # Errors
    /// As [`TwinId::new`].
    pub fn in_default_tenant(id: &str) -> Result<Self, Error> {
        Self::new(DEFAULT_TENANT, id)
    }

    /// Reads `tenant/id`, as [`TwinId::as_str`] wrote it.
    ///
    /// # Errors
    /// As [`TwinId::new`]; a text without `/` is an empty id.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (tenant, id) = text.split_once('/').unwrap_or((text, ""));
        Self::new(tenant, id)
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        self.0.split_once('/').map_or("", |(tenant, _)| tenant)
    }

    /// The id within the tenant.
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// Both, as `tenant/id`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The slot of the twin: one of 65,536, by xxh3 of its text. Slots map to shards; a twin never changes its slot.
    pub fn slot(&self) -> u16 {
        (twox_hash::XxHash3_64::oneshot(self.0.as_bytes()) >> 48) as u16
    }
}

impl fmt::Display for TwinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TwinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::codec::text!(TwinId, |text| TwinId::parse(text));

fn check(what: &'static str, name: &str, max: usize) -> Result<(), Error> {
    if name.is_empty() || name.len() > max {
        let length = name.len();
        return Err(Error::Length { what, name: readable(name), length, max });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._~:@-".contains(c);
    if let Some(character) = name.chars().find(|&c| !allowed(c)) {
        return Err(Error::Character { what, name: readable(name), character });
    }
    if matches!(name, "me" | "." | "..") {
        return Err(Error::Reserved { what, name: name.into() });
    }
    Ok(())
}

/// A name from outside may be long, and may hold anything: errors show the start of it, escaped.
fn readable(name: &str) -> String {
    name.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_tenant_and_its_name() {
        let id = TwinId::new("acme", "pump:7@hall-2").unwrap();

        assert_eq!((id.tenant(), id.id(), id.as_str()), ("acme", "pump:7@hall-2", "acme/pump:7@hall-2"));
        assert_eq!(TwinId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn what_topics_and_paths_could_misread_is_refused() {
        for bad in ["", "me", ".", "..", "a/b", "a+", "#", "ä", "a b", &"x".repeat(129)] {
            assert!(TwinId::in_default_tenant(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(TwinId::in_default_tenant(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn slots_are_spread_evenly() {
        let mut shards = [0_u32; 64];
        for n in 0..64_000 {
            shards[TwinId::in_default_tenant(&format!("d{n}")).unwrap().slot() as usize / 1024] += 1;
        }
        assert!(shards.iter().all(|&n| (800..1200).contains(&n)), "{shards:?}");
    }
}
