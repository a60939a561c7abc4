//! A refusal of the API, as people read it.

use std::fmt;

use serde::Deserialize;

use super::table::plain;

/// A refusal of the API (RFC 9457). Its text may hold what a device said.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    title: String,
    detail: String,
    code: String,
    next: String,
    status: u16,
    earliest: Option<String>,
}

impl Problem {
    /// Of records that are gone: the cursor that reads on with the first that are kept.
    pub(super) fn earliest(&self) -> Option<&str> {
        self.earliest.as_deref()
    }

    /// What went wrong, for programs.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Nothing was done, for a reason that lies with the call.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.status, 400..=499)
    }

    /// The same call may be made again later.
    pub(super) fn passes(&self) -> bool {
        matches!(self.status, 429 | 503)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, detail, code, next, earliest, .. } = self;
        write!(f, "{}: {} ({})\nnext: ", plain(title), plain(detail), plain(code))?;
        match code.as_str() {
            // The API speaks of itself; here its verbs have names.
            "unknown-twin" => {
                f.write_str("see the devices, or add it: twinfold device list; twinfold device add ID")
            }
            "unknown-command" => f.write_str("see the commands: twinfold command list ID"),
            "command-ended" => f.write_str("see how it ended: twinfold command show ID COMMAND"),
            "not-dead" => f.write_str("see what can be redriven: twinfold command list ID --state dead"),
            "version-mismatch" => f.write_str("read the twin again, and use its ETag: twinfold twin get ID"),
            "not-connected" | "timeout" => {
                f.write_str("send a command, which waits for the device: twinfold twin send ID NAME")
            }
            "trimmed" => {
                let earliest = earliest.as_deref().unwrap_or("earliest");
                write!(f, "read from the first that are kept: --from {}", plain(earliest))
            }
            "bad-parameter" => f.write_str("see how it is written: the same verb with --help"),
            "malformed" => f.write_str(
                "see how it is written: the same verb with --help; what a kind declares says twinfold twin contract KIND",
            ),
            "not-found" => f.write_str(
                "see whether --url is http://HOST:PORT and nothing more, and the node of this version: twinfold --version",
            ),
            "unknown-kind" => f.write_str(
                "see the kinds of a binary: twinfold twin contract; the node has to be one that has it",
            ),
            "conflict" => {
                f.write_str("see how the device is, and which verb fits: twinfold device get ID; twinfold device --help")
            }
            "not-authenticated" => f.write_str("pass a valid token with --token, or in TWINFOLD_TOKEN"),
            _ => f.write_str(&plain(next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn problem(code: &str) -> String {
        let text = format!(
            r#"{{"type":"about:blank","title":"Not Found","status":404,"detail":"no such thing \u001b[2J","code":"{code}","next":"look"}}"#
        );
        serde_json::from_str::<Problem>(&text).unwrap().to_string()
    }

    #[test]
    fn a_problem_says_what_happened_and_what_to_do_next() {
        assert_eq!(problem("gone"), "Not Found: no such thing \\u{1b}[2J (gone)\nnext: look");
    }

    #[test]
    fn where_there_is_a_verb_the_next_step_names_it() {
        assert!(problem("unknown-twin").ends_with("twinfold device add ID"));
        assert!(problem("not-found").ends_with("twinfold --version"));
        assert!(problem("malformed").contains("--help"));
    }
}
