//! Following: what happens as it happens, over cuts and restarts of the node.
//!
//! The node sends server-sent events whose ids are cursors. When a stream is cut, the next one begins after the last id,
//! so that nothing is missed and nothing comes twice; each cut is told on stderr.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread::sleep;
use std::time::Duration;

use serde::Deserialize;

use super::client::{self, Call};
use super::remote::Remote;
use super::{Error, note};

/// The pause before a stream that was cut is asked for again: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The longest line of a stream that is read.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// Follows what `call` asks for, and never ends by itself: `show` gets the JSON of each envelope. `from` is where to
/// begin; else with what comes next.
pub(super) fn follow(
    at: &Remote,
    call: impl Fn() -> Call,
    from: Option<&str>,
    out: &mut dyn Write,
    mut show: impl FnMut(&str, &mut dyn Write) -> Result<(), Error>,
) -> Result<std::process::ExitCode, Error> {
    let mut last: Option<String> = None;
    let mut stream = at.open(call().query("from", from), None)?;
    let mut pause = PAUSE.0;
    loop {
        let why = match read(BufReader::new(stream), &mut last, out, &mut show)? {
            Cut::Trimmed { why, earliest } => {
                last = Some(earliest);
                format!("{why}; the records in between are gone")
            }
            Cut::Closed(why) => why,
        };
        note(&format!("cut: {why}; reading on where it ended"));
        stream = loop {
            sleep(pause);
            let again = match &last {
                Some(last) => at.open(call(), Some(last)),
                None => at.open(call().query("from", from), None),
            };
            match again {
                Ok(stream) => break stream,
                Err(Error::Client(client::Error::Problem(problem))) if problem.earliest().is_some() => {
                    note("cut: the records in between are gone; reading on with the first that are kept");
                    last = problem.earliest().map(str::to_owned);
                }
                Err(Error::Client(client::Error::Problem(problem))) if !problem.passes() => {
                    return Err(client::Error::Problem(problem).into());
                }
                Err(error) => note(&format!("waiting for the node: {}", first_line(&error.to_string()))),
            }
            pause = (pause * 2).min(PAUSE.1);
        };
        pause = PAUSE.0;
        note("reading on");
    }
}

/// Why a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    /// The node closed it, or nobody knows.
    Closed(String),
    /// It was so slow that records were dropped before.
    Trimmed { why: String, earliest: String },
}

/// What the last event of a stream says.
#[derive(Deserialize)]
struct End {
    why: String,
    earliest: Option<String>,
}

/// Reads a stream to its end; `last` is the id of the last event that was shown.
fn read(
    mut lines: impl BufRead,
    last: &mut Option<String>,
    out: &mut dyn Write,
    show: &mut dyn FnMut(&str, &mut dyn Write) -> Result<(), Error>,
) -> Result<Cut, Error> {
    let (mut name, mut id, mut data) = (String::new(), None, String::new());
    let mut line = String::new();
    loop {
        line.clear();
        match lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) => return Ok(Cut::Closed("the connection ended".to_owned())),
            Ok(_) if !line.ends_with('\n') => {
                return Ok(Cut::Closed("the connection ended within an event".into()));
            }
            Ok(_) => {}
            Err(error) => return Ok(Cut::Closed(error.to_string())),
        }
        let field = line.trim_end_matches(['\n', '\r']);
        match field.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
            Some(("event", value)) => value.clone_into(&mut name),
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("data", value)) => data.push_str(value),
            None if field.is_empty() => {
                if !data.is_empty() && name.is_empty() {
                    show(&data, out)?;
                    out.flush()?;
                } else if !data.is_empty() {
                    return Ok(cut(&name, &data));
                }
                *last = id.take().or(last.take());
                name.clear();
                data.clear();
            }
            _ => {}
        }
    }
}

fn cut(name: &str, data: &str) -> Cut {
    match serde_json::from_str(data) {
        Ok(End { why, earliest: Some(earliest) }) => Cut::Trimmed { why, earliest },
        Ok(End { why, earliest: None }) => Cut::Closed(why),
        Err(_) => Cut::Closed(format!("the node sent an event `{name}`")),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stream: &str, shown: &[&str], last: Option<&str>, cut: Cut) {
        let (mut seen, mut id) = (Vec::new(), None);
        let mut show = |data: &str, _: &mut dyn Write| {
            seen.push(data.to_owned());
            Ok(())
        };
        let ended = read(stream.as_bytes(), &mut id, &mut std::io::sink(), &mut show).unwrap();
        assert_eq!((ended, id.as_deref()), (cut, last));
        assert_eq!(seen, shown);
    }

    #[test]
    fn events_are_shown_and_the_last_id_is_that_of_the_last_whole_one() {
        let ended = || Cut::Closed("the connection ended".into());
        check("id: 1:5\ndata: {}\n\n: here\nid: 1:9\n\n", &["{}"], Some("1:9"), ended());
        check("id: 1:5\ndata: {}\n\nid: 1:6\ndata: {}\n", &["{}"], Some("1:5"), ended());
        let torn = Cut::Closed("the connection ended within an event".into());
        check("id: 1:5\r\ndata: 1\r\n\r\ndata: 2", &["1"], Some("1:5"), torn);
    }

    #[test]
    fn a_stream_says_why_it_ends() {
        let closed = Cut::Closed("the node stops".into());
        check("event: closed\ndata: {\"why\":\"the node stops\"}\n\n", &[], None, closed);
        let trimmed = Cut::Trimmed { why: "slow".into(), earliest: "1:7".into() };
        check(
            "id: 1:5\n\nevent: trimmed\ndata: {\"why\":\"slow\",\"earliest\":\"1:7\"}\n\n",
            &[],
            Some("1:5"),
            trimmed,
        );
    }
}
