//! Patterns over device ids and over the paths of a twin. Nothing backtracks: what matching costs is the length of the
//! pattern times that of the text, at worst.
//!
//! In an id and in one segment of a path `*` stands for any characters, and `?` for one. In a path `**` stands for any
//! segments, also for none. A pattern of paths speaks of what it matches **and of all below it**: `desired/heating`
//! says the same as `desired/heating/**`, since what is below a part of a document is a part of it.

use std::fmt;

/// The longest pattern, in bytes.
const BYTES_MAX: usize = 512;
/// The most segments of a pattern of paths: a set of places in one is the bits of a number.
const SEGMENTS_MAX: usize = 30;

/// A text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is empty or too long.
    #[error("a pattern has 1 to {BYTES_MAX} bytes, this one {0}")]
    Length(usize),
    /// It has too many segments.
    #[error("a pattern has at most {SEGMENTS_MAX} segments, this one {0}")]
    Segments(usize),
    /// A segment is empty.
    #[error("`{0}` has an empty segment; write a path as `desired/heating`, without `/` at its ends")]
    Empty(String),
    /// It holds what no id and no path has.
    #[error("a pattern holds the control character {0:?}")]
    Character(char),
}

/// A pattern of device ids: `pump-*`.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct DevicePattern(#[n(0)] String);

/// A pattern of the paths of a twin: `desired/heating/**`, `commands/open`, `telemetry/*`.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct PathPattern(#[n(0)] String);

/// What a pattern says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meets {
    /// It speaks of the path, and so of all below it.
    pub(super) covers: bool,
    /// It speaks of the path or of something below it.
    pub(super) reaches: bool,
}

impl DevicePattern {
    /// Takes a pattern from outside.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an id is one of those.
    pub fn matches(&self, id: &str) -> bool {
        segment_matches(&self.0, id)
    }
}

impl PathPattern {
    /// Takes a pattern from outside.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        check(text)?;
        let count = text.split('/').count();
        if count > SEGMENTS_MAX {
            return Err(Malformed::Segments(count));
        }
        if text.split('/').any(str::is_empty) {
            return Err(Malformed::Empty(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says of a path; `""` is the twin itself, of which every path is a part.
    pub(super) fn meets(&self, path: &str) -> Meets {
        let pattern: Vec<&str> = self.0.split('/').take(SEGMENTS_MAX).collect();
        let end = 1_u32 << pattern.len();
        // All places in the pattern where the path may stand by now; `**` may be left out.
        let settle = |mut places: u32| {
            for (at, segment) in pattern.iter().enumerate() {
                if *segment == "**" && places & (1 << at) != 0 {
                    places |= 1 << (at + 1);
                }
            }
            places
        };
        let mut places = settle(1);
        // A member may have no name: of the path, that is a segment like others.
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            if places & end != 0 {
                break;
            }
            let mut next = 0;
            for (at, wanted) in pattern.iter().enumerate().filter(|(at, _)| places & (1 << at) != 0) {
                match *wanted {
                    "**" => next |= 1 << at,
                    wanted if segment_matches(wanted, segment) => next |= 1 << (at + 1),
                    _ => {}
                }
            }
            places = settle(next);
        }
        Meets { covers: places & end != 0, reaches: places != 0 }
    }
}

impl fmt::Display for DevicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), Malformed> {
    if text.is_empty() || text.len() > BYTES_MAX {
        return Err(Malformed::Length(text.len()));
    }
    text.chars().find(|c| c.is_control()).map_or(Ok(()), |c| Err(Malformed::Character(c)))
}

/// Of several `*` only the last one seen is ever tried again, since what an earlier one took can be any text as well.
fn segment_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut star: Option<(&str, &str)> = None;
    loop {
        let (mut wanted, mut given) = (pattern.chars(), text.chars());
        match (wanted.next(), given.next()) {
            (Some('*'), _) => {
                pattern = wanted.as_str();
                star = Some((pattern, text));
            }
            (None, None) => return true,
            (Some(w), Some(g)) if w == '?' || w == g => (pattern, text) = (wanted.as_str(), given.as_str()),
            _ => {
                let Some((behind, from)) = star else { return false };
                let mut rest = from.chars();
                if rest.next().is_none() {
                    return false;
                }
                (pattern, text) = (behind, rest.as_str());
                star = Some((behind, rest.as_str()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_path(pattern: &str, path: &str, covers: bool, reaches: bool) {
        let met = PathPattern::new(pattern).unwrap().meets(path);
        assert_eq!(met, Meets { covers, reaches }, "{pattern} of {path}");
    }

    #[test]
    fn a_pattern_speaks_of_what_it_matches_and_of_all_below() {
        check_path("desired/heating", "desired/heating", true, true);
        check_path("desired/heating", "desired/heating/mode", true, true);
        check_path("desired/heating/**", "desired/heating", true, true);
        check_path("desired/*/mode", "desired/heating/mode/x", true, true);
        check_path("desired/heating", "desired/heatings", false, false);
        check_path("desired/heating", "reported/heating", false, false);
    }

    #[test]
    fn what_is_above_is_reached_and_not_covered() {
        check_path("desired/heating/mode", "desired", false, true);
        check_path("desired/heating/mode", "", false, true);
        check_path("**/mode", "desired/heating", false, true);
        check_path("**/mode", "desired/heating/mode", true, true);
        check_path("desired/*/mode", "desired/heating/other", false, false);
    }

    #[test]
    fn a_member_without_a_name_is_a_part_like_others() {
        check_path("desired/heating", "desired//heating", false, false);
        check_path("desired/*/heating", "desired//heating", true, true);
        check_path("desired", "desired//heating", true, true);
        check_path("telemetry/*", "telemetry/", true, true);
    }

    #[test]
    fn two_stars_alone_are_the_twin_itself() {
        check_path("**", "", true, true);
        check_path("**", "desired/a", true, true);
        check_path("**/**", "", true, true);
        check_path("*", "", false, true);
    }

    #[test]
    fn ids_are_matched_as_people_expect() {
        let check = |pattern: &str, id: &str, matches| {
            assert_eq!(DevicePattern::new(pattern).unwrap().matches(id), matches, "{pattern} {id}");
        };
        check("pump-*", "pump-7", true);
        check("pump-*", "pump-", true);
        check("pump-?", "pump-77", false);
        check("*-hall-*", "pump-hall-hall-2", true);
        check("*", "anything:at@all", true);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("PUMP", "pump", false);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "a\nb", &"x".repeat(513)] {
            assert!(DevicePattern::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["/desired", "desired/", "a//b", &vec!["a"; 31].join("/")] {
            assert!(PathPattern::new(bad).is_err(), "{bad:?}");
        }
    }

    /// The obvious, exponential way to match: what the other has to agree with.
    fn slow(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, _) => true,
            (Some((&"**", rest)), _) => slow(rest, path) || (!path.is_empty() && slow(pattern, &path[1..])),
            (Some(_), None) => false,
            (Some((wanted, rest)), Some((given, path))) => segment_matches(wanted, given) && slow(rest, path),
        }
    }

    proptest! {
        #[test]
        fn paths_match_as_by_definition(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**", "a*"]), 1..6),
            path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "c"]), 0..7),
        ) {
            let met = PathPattern::new(&pattern.join("/")).unwrap().meets(&path.join("/"));
            prop_assert_eq!(met.covers, slow(&pattern, &path));
            prop_assert!(!met.covers || met.reaches);
        }

        #[test]
        fn what_a_pattern_reaches_it_covers_somewhere_below(
            pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**"]), 1..5),
            path in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..5),
        ) {
            let parsed = PathPattern::new(&pattern.join("/")).unwrap();
            // The rest of the pattern, written out, is a path below that it covers, if there is any.
            let below = (0..=pattern.len()).any(|from| {
                let rest = pattern[from..].iter().map(|segment| if segment.contains('*') { "a" } else { segment });
                let below: Vec<&str> = path.iter().copied().chain(rest).collect();
                parsed.meets(&below.join("/")).covers
            });
            prop_assert_eq!(parsed.meets(&path.join("/")).reaches, below);
        }

        #[test]
        fn many_stars_cost_no_more_than_the_lengths(stars in 1_usize..200) {
            // Exponential in the number of stars, this would not end.
            let pattern = DevicePattern::new(&format!("{}b", "a*".repeat(stars))).unwrap();
            prop_assert!(!pattern.matches(&"a".repeat(128)));
            let path = PathPattern::new(&vec!["**/a"; 15].join("/")).unwrap();
            prop_assert!(!path.meets(&vec!["b"; stars].join("/")).covers);
        }
    }
}
