//! The keys that a device shows once, to be activated: generated ones, which nobody can guess, and ones that a person
//! chose, which somebody might.
//!
//! A generated key is 128 random bits in the base 32 of Crockford, in groups that can be read out and typed in:
//! `XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XX`. A keyed hash of it is kept. Of a chosen one Argon2id (RFC 9106) is kept, with the
//! parameters that OWASP names for it: 19 MiB, two passes, one lane, a salt of 128 bits. Each hash takes some 20 ms of a
//! processor, so that two are made at a time, on threads that may block. The memory that they take is kept: were it asked
//! for anew each time, what is small and lives on would come to lie between, and there would be ever more of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{Output, ParamsString, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use twins::trust::{Fingerprint, Verifier};

use super::key::Key;
use super::vault::{self, Purpose, Vault, is_same, random};

/// Bytes that a chosen key has at least. Attempts are slowed down, or it would have to be longer.
pub const CHOSEN_BYTES_MIN: usize = 8;
/// Bytes that a chosen key has at most.
pub const CHOSEN_BYTES_MAX: usize = 256;
/// How many hashes are made at once: 38 MiB.
const HASHING_MAX: usize = 2;
/// How many may wait for that, about five seconds' worth. More are refused.
const WAITING_MAX: usize = 512;

/// The slow hash of nothing that anybody knows: what is compared where there is nothing to compare with.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$dHdpbmZvbGQgZGVjb3khIQ$1Ztn8p5bX1V1eqsCbK5FZhcW3o4fHk9w4k1cRzGZ0aQ";

/// The digits of Crockford's base 32.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How many of them 128 bits take.
const GENERATED_DIGITS: usize = 26;

/// A generated activation key.
#[derive(Clone)]
pub struct Generated(u128);

/// An activation key as somebody shows it in a body. What is shown instead, a number say, no error repeats.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an activation key is a text")]
pub(crate) enum Spoken {
    Text(String),
}

impl Spoken {
    pub(crate) fn text(&self) -> &str {
        let Self::Text(text) = self;
        text
    }
}

/// Hashes and verifies chosen activation keys, a few at a time. Cheap to clone.
#[derive(Clone)]
pub struct Hashing {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// What hashes were made in, and the next ones will be.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

/// Why an activation key was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is too short or too long to be chosen.
    #[error(
        "an activation key has {CHOSEN_BYTES_MIN} to {CHOSEN_BYTES_MAX} bytes; choose another one, or have one generated"
    )]
    Length,
    /// It looks like the key that a device gets: nobody should choose that.
    #[error(
        "this looks like a device's key, and an activation key is something else; choose another one, or have one generated"
    )]
    LooksLikeKey,
    /// Too many wait to have one hashed.
    #[error("too many activation keys are being checked; try again in a few seconds")]
    Busy,
    /// There are no random numbers to make a salt of.
    #[error(transparent)]
    Random(#[from] vault::Error),
}

impl Generated {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new() -> Result<Self, vault::Error> {
        Ok(Self(u128::from_be_bytes(random()?)))
    }

    /// Reads one, as people type it: in small letters, without its dashes, an `O` for a `0`, an `I` or an `L` for a `1`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().filter(|byte| !matches!(byte, b'-' | b' '));
        let (mut value, mut count) = (0_u128, 0);
        for digit in digits {
            let digit = match digit.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            let digit = DIGITS.iter().position(|known| *known == digit)?;
            count += 1;
            // 26 digits are two bits more than a key has.
            if count > GENERATED_DIGITS || value >> (128 - 5) != 0 {
                return None;
            }
            value = value << 5 | digit as u128;
        }
        (count == GENERATED_DIGITS).then_some(Self(value))
    }

    /// The text of it, for whoever puts it into the device.
    pub fn reveal(&self) -> String {
        let digits =
            (0..GENERATED_DIGITS).rev().map(|place| DIGITS[(self.0 >> (5 * place)) as usize % 32] as char);
        let mut text = String::with_capacity(GENERATED_DIGITS + GENERATED_DIGITS / 4);
        for (place, digit) in digits.enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(digit);
        }
        text
    }

    /// What its twin keeps of it.
    pub fn keep(&self, vault: &Vault) -> Verifier {
        Verifier::Generated(self.digest(vault))
    }

    fn digest(&self, vault: &Vault) -> Fingerprint {
        vault.digest(Purpose::ActivationKey, &self.0.to_be_bytes())
    }
}

impl Default for Hashing {
    fn default() -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { turns: semaphore(HASHING_MAX), places: semaphore(WAITING_MAX), memory: Arc::default() }
    }
}

impl Hashing {
    /// What a twin keeps of a key that a person chose. What looks generated is kept as that.
    ///
    /// # Errors
    /// When it is too short or too long or looks like a device's key, or too many wait.
    pub async fn keep(&self, vault: &Vault, chosen: &str) -> Result<Verifier, Error> {
        if !(CHOSEN_BYTES_MIN..=CHOSEN_BYTES_MAX).contains(&chosen.len()) {
            return Err(Error::Length);
        }
        if Key::parse(chosen).is_some() {
            return Err(Error::LooksLikeKey);
        }
        if let Some(generated) = Generated::parse(chosen) {
            return Ok(generated.keep(vault));
        }
        let (salt, chosen) = (random::<16>()?, chosen.to_owned());
        let hash = self.in_turn(move |memory| hash(&chosen, &salt, memory)).await?;
        Ok(Verifier::Chosen(hash))
    }

    /// Whether this is the activation key that is known, where one is.
    ///
    /// What is done follows from what is shown alone: what looks chosen is hashed slowly, whatever is known, and nothing
    /// else is. So how long it takes tells neither whether there is a device, nor which sort of key it has.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub async fn is_activation_key(
        &self,
        vault: &Vault,
        known: Option<&Verifier>,
        shown: &[u8],
    ) -> Result<bool, Error> {
        let text = std::str::from_utf8(shown).ok().filter(|text| text.len() <= CHOSEN_BYTES_MAX);
        let Some(text) = text else { return Ok(false) };
        if let Some(key) = Generated::parse(text) {
            let of_shown = key.digest(vault);
            return Ok(matches!(known, Some(Verifier::Generated(of)) if is_same(&of_shown.0, &of.0)));
        }
        if Key::parse(text).is_some() {
            return Ok(false);
        }
        let hash = match known {
            Some(Verifier::Chosen(hash)) => Some(hash.clone()),
            _ => None,
        };
        let text = text.to_owned();
        let hashed = self.in_turn(move |memory| {
            verify(hash.as_deref().unwrap_or(DECOY), &text, memory).unwrap_or(false) && hash.is_some()
        });
        hashed.await
    }

    /// Works on a thread that may block, when it is its turn.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Error::Busy)?;
        // Whoever asked may be gone: the turn lasts as long as the work does.
        let memory = self.memory.clone();
        let done = spawn_blocking(move || {
            // Nobody panics while holding the lock: a value is moved under it.
            let kept = || memory.lock().unwrap_or_else(PoisonError::into_inner);
            let mut blocks = kept().pop().unwrap_or_default();
            let worked = work(&mut blocks);
            kept().push(blocks);
            drop((turn, place));
            worked
        });
        done.await.map_err(|_| Error::Busy)
    }
}

fn hash(chosen: &str, salt: &[u8], memory: &mut Vec<Block>) -> String {
    let (algorithm, version, params) = (Algorithm::Argon2id, Version::V0x13, Params::default());
    let right = "the parameters are right, and what is hashed is short";
    let hash = digest(algorithm, version, &params, chosen, salt, memory).expect(right);
    let salt = SaltString::encode_b64(salt).expect("a salt of 128 bits is of the right length");
    let params = ParamsString::try_from(&params).expect(right);
    let (algorithm, version, hash) = (algorithm.ident(), Some(version.into()), Some(hash));
    PasswordHash { algorithm, version, params, salt: Some(salt.as_salt()), hash }.to_string()
}

/// `None` where what is kept is no hash.
fn verify(kept: &str, shown: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let kept = PasswordHash::new(kept).ok()?;
    let algorithm = Algorithm::try_from(kept.algorithm).ok()?;
    let version = kept.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(&kept).ok()?;
    let mut salt = [0; 64];
    let salt = kept.salt?.decode_b64(&mut salt).ok()?;
    // Both are compared in constant time.
    Some(digest(algorithm, version, &params, shown, salt, memory)? == kept.hash?)
}

/// `None` where the parameters are no such.
fn digest(
    algorithm: Algorithm,
    version: Version,
    params: &Params,
    text: &str,
    salt: &[u8],
    memory: &mut Vec<Block>,
) -> Option<Output> {
    memory.resize(params.block_count(), Block::default());
    let mut bytes = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into_with_memory(text.as_bytes(), salt, &mut bytes, memory).ok()?;
    Output::new(&bytes).ok()
}

/// What follows from a key, in the memory of a hash, never gets into a log by accident, nor does a key.
impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashing")
    }
}

impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generated")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_read_as_it_was_revealed_and_as_people_type_it() {
        for key in [Generated::new().unwrap(), Generated(0), Generated(u128::MAX), Generated(1 << 120)] {
            let text = key.reveal();
            assert_eq!(text.len(), 32);
            let typed = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            for text in [&text, &typed, &text.replace('-', "")] {
                assert_eq!(Generated::parse(text).map(|read| read.0), Some(key.0), "{text}");
            }
        }
        let text = Generated(7).reveal();
        for other in
            ["", &text[..31], &format!("{text}0"), &text.replace('7', "U"), &format!("8{}", &text[1..])]
        {
            assert!(Generated::parse(other).is_none(), "{other}");
        }
    }

    #[tokio::test]
    async fn a_key_is_verified_by_what_is_kept_of_it() {
        let (vault, hashing) = (Vault::new([7; 32]), Hashing::default());
        let generated = Generated::new().unwrap();
        let kept = [
            (generated.keep(&vault), generated.reveal()),
            (hashing.keep(&vault, "correct horse").await.unwrap(), "correct horse".to_owned()),
        ];

        for (verifier, right) in &kept {
            assert!(hashing.is_activation_key(&vault, Some(verifier), right.as_bytes()).await.unwrap());
            for wrong in ["", "correct hors", &Generated(1).reveal(), &"x".repeat(10_000)] {
                assert!(
                    !hashing.is_activation_key(&vault, Some(verifier), wrong.as_bytes()).await.unwrap(),
                    "{wrong}"
                );
            }
            assert!(!hashing.is_activation_key(&vault, Some(verifier), b"\xFF").await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_chosen_key_is_kept_as_owasp_recommends_and_never_twice_the_same() {
        let (vault, hashing) = (Vault::new([7; 32]), Hashing::default());
        let keep = || hashing.keep(&vault, "12345678");
        let [one, other] = [keep().await.unwrap(), keep().await.unwrap()];

        let (Verifier::Chosen(one), Verifier::Chosen(other)) = (one, other) else { panic!("not chosen") };
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        assert_eq!(hashing.keep(&vault, "1234567").await, Err(Error::Length));
        assert_eq!(hashing.keep(&vault, &"x".repeat(CHOSEN_BYTES_MAX + 1)).await, Err(Error::Length));
    }

    #[tokio::test]
    async fn who_finds_no_place_to_wait_is_refused() {
        let (vault, hashing) = (Vault::new([7; 32]), Hashing::default());
        let all = hashing.places.clone().try_acquire_many_owned(WAITING_MAX as u32).unwrap();

        assert_eq!(hashing.keep(&vault, "12345678").await, Err(Error::Busy));
        drop(all);
        assert!(hashing.keep(&vault, "12345678").await.is_ok());
    }

    #[tokio::test]
    async fn whether_it_is_hashed_slowly_follows_from_what_is_shown_alone() {
        let (vault, hashing) = (Vault::new([7; 32]), Hashing::default());
        let generated = Generated::new().unwrap().keep(&vault);
        let chosen = hashing.keep(&vault, "correct horse").await.unwrap();
        // Whatever is hashed slowly is refused now.
        let _all = hashing.places.clone().try_acquire_many_owned(WAITING_MAX as u32).unwrap();

        for known in [None, Some(&generated), Some(&chosen)] {
            let shown = hashing.is_activation_key(&vault, known, b"battery staple").await;
            assert_eq!(shown, Err(Error::Busy), "{known:?}");
            for fast in [Generated::new().unwrap().reveal(), Key::new().unwrap().reveal()] {
                let shown = hashing.is_activation_key(&vault, known, fast.as_bytes()).await;
                assert_eq!(shown, Ok(false), "{known:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_looks_generated_is_kept_as_that_and_nobody_chooses_a_devices_key() {
        let (vault, hashing) = (Vault::new([7; 32]), Hashing::default());
        let text = Generated(7).reveal();

        let kept = hashing.keep(&vault, &text).await.unwrap();
        assert_eq!(kept, Generated(7).keep(&vault));
        assert_eq!(hashing.is_activation_key(&vault, Some(&kept), text.as_bytes()).await, Ok(true));
        let key = Key::new().unwrap().reveal();
        assert_eq!(hashing.keep(&vault, &key).await, Err(Error::LooksLikeKey));
    }
}
