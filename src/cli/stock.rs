//! `twinfold device export` and `import`: the registry as lines of JSON, to be kept, edited and taken elsewhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use twins::json::Json;

use super::client::{self, Call};
use super::remote::Remote;
use super::{Error, note};

/// How many devices a page has: as many as the API gives.
const PAGE: usize = 1_000;
/// The longest line that is read: an id, a kind, tags and a catalogue of the largest size.
const LINE_BYTES_MAX: usize = 512 << 10;

/// Print every device that has not been replaced, a JSON object a line.
#[derive(Args)]
#[command(after_help = "Example:\n  twinfold device export > devices.ndjson")]
pub(super) struct Export {
    #[command(flatten)]
    at: Remote,
}

/// Register the devices of a file, as `device export` prints them; those that are there get these tags and
/// this catalogue.
#[derive(Args)]
#[command(after_help = concat!(
    "Examples:\n",
    "  twinfold device import devices.ndjson\n",
    "  echo '{\"id\": \"boiler-7\", \"kind\": \"thermostat\", \"tags\": {\"room\": \"attic\"}}' | twinfold device import",
))]
pub(super) struct Import {
    /// A JSON object a line: `id`, and `kind`, `tags`, `catalogue` and `group` where they are not the usual; else stdin
    /// is read
    file: Option<PathBuf>,
    #[command(flatten)]
    at: Remote,
}

/// A device as a line has it. What else the API says of it is not taken along.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalogue: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// A device as the API lists it.
#[derive(Deserialize)]
struct Item {
    id: String,
    kind: String,
    tags: Json,
    catalogue: Json,
    group: Option<String>,
    /// Not shown to who may not read it.
    replaced_by: Option<String>,
}

/// What a device is registered with.
#[derive(Serialize)]
struct Registration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalogue: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next: Option<String>,
}

impl Line {
    fn of(Item { id, kind, tags, catalogue, group, .. }: Item) -> Self {
        let catalogue = Some(catalogue).filter(|catalogue| catalogue.as_str() != "{}");
        Self { id, kind: Some(kind), tags: Some(tags), catalogue, group }
    }
}

impl Export {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let (mut after, mut devices) = (None, 0);
        loop {
            let call = Call::get(&["devices"]).query("limit", Some(PAGE)).query("after", after);
            let page: Page = self.at.call(call)?.read()?;
            // One that was replaced lives on in its successor.
            for item in page.items.into_iter().filter(|item| item.replaced_by.is_none()) {
                writeln!(out, "{}", serde_json::to_string(&Line::of(item)).expect("it has a form in JSON"))?;
                devices += 1;
            }
            after = page.next;
            if after.is_none() {
                out.flush()?;
                note(&format!("{devices} devices"));
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

impl Import {
    pub(super) fn run(self) -> Result<ExitCode, Error> {
        let Self { file, at } = self;
        let unread = |why| Error::Unread { file: file.clone().unwrap_or_else(|| "stdin".into()), why };
        let mut lines: Box<dyn BufRead> = match &file {
            Some(file) => Box::new(BufReader::new(File::open(file).map_err(unread)?)),
            None => Box::new(io::stdin().lock()),
        };
        let (mut number, mut devices) = (0, 0);
        while let Some(text) = next(&mut lines).map_err(unread)? {
            number += 1;
            if text.trim().is_empty() {
                continue;
            }
            let line = |why: String| Error::Line { number, devices, why };
            let device: Line = serde_json::from_str(&text).map_err(|error| line(error.to_string()))?;
            let Line { id, kind, tags, catalogue, group } = &device;
            let (kind, group) = (kind.as_deref(), group.as_deref());
            let registration =
                Registration { kind, tags: tags.as_ref(), catalogue: catalogue.as_ref(), group };
            let call = Call::put(&["devices", id], &registration);
            at.call(call).map_err(|error| match error {
                // What is to be done about it is said once, for the line.
                Error::Client(client::Error::Problem(problem)) => {
                    line(problem.to_string().lines().next().unwrap_or_default().to_owned())
                }
                other => other,
            })?;
            devices += 1;
        }
        note(&format!("{devices} devices are registered"));
        Ok(ExitCode::SUCCESS)
    }
}

/// The next line; none at the end. One that is too long is an error, before it is in memory.
fn next(lines: &mut dyn BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut limited = io::Read::take(lines, LINE_BYTES_MAX as u64 + 1);
    let read = limited.read_until(b'\n', &mut line)?;
    if read > LINE_BYTES_MAX {
        return Err(io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
    }
    if read == 0 {
        return Ok(None);
    }
    String::from_utf8(line).map(Some).map_err(|_| io::Error::other("a line is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_end_and_are_not_too_long() {
        let mut lines: &[u8] = b"{\"id\":\"a\"}\n\nb";
        assert_eq!(next(&mut lines).unwrap().as_deref(), Some("{\"id\":\"a\"}\n"));
        assert_eq!(next(&mut lines).unwrap().as_deref(), Some("\n"));
        assert_eq!(next(&mut lines).unwrap().as_deref(), Some("b"));
        assert_eq!(next(&mut lines).unwrap(), None);
        assert!(next(&mut vec![b'a'; LINE_BYTES_MAX + 1].as_slice()).is_err());
        assert!(next(&mut &b"\xff\n"[..]).is_err());
    }

    #[test]
    fn a_device_as_the_api_shows_it_is_a_line() {
        let shown = r#"{"id":"t-1","kind":"thermostat","created":"2026-11-21T09:30:00.000Z","tags":{"a":1},"catalogue":{}}"#;
        let item: Item = serde_json::from_str(shown).unwrap();

        let text = serde_json::to_string(&Line::of(item)).unwrap();

        assert_eq!(text, r#"{"id":"t-1","kind":"thermostat","tags":{"a":1}}"#);
    }
}
