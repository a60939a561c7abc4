//! What a collector hears of a node: the steps of traces, and no others; and that a collector changes no answer.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;

use support::http::Api;
use support::node::{Node, eventually};
use support::process::{Addresses, Process};
use support::wire::{self, PUBACK, Wire};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A span, as it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: BTreeMap<String, String>,
}

/// Listens where a node sends its spans, and keeps them.
struct Collector {
    at: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let (at, spans) = (listener.local_addr().expect("it is bound"), Arc::new(Mutex::new(Vec::new())));
        let kept = spans.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || while take(&stream, &kept).is_some() {});
            }
        });
        Self { at, spans }
    }

    fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// What came, from a node that has stopped.
    fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("nobody panics with it").clone()
    }
}

/// Takes one request of a connection, and answers that all of it was taken.
fn take(mut stream: &TcpStream, kept: &Mutex<Vec<Span>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().expect("a length"),
            Some(("content-type", value)) => assert_eq!(value, "application/x-protobuf"),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    kept.lock().expect("nobody panics with it").extend(spans(&body));
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        .ok()
}

/// The spans of an `ExportTraceServiceRequest` of OpenTelemetry's `trace_service.proto`, by the numbers of its fields.
fn spans(request: &[u8]) -> Vec<Span> {
    let scopes = of(request, 1).flat_map(|resource_spans| of(resource_spans, 2));
    scopes.flat_map(|scope_spans| of(scope_spans, 2)).map(span).collect()
}

fn span(bytes: &[u8]) -> Span {
    let first = |number| of(bytes, number).next().unwrap_or_default();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("texts are UTF-8");
    let attribute = |pair| {
        let mut parts = [of(pair, 1).next(), of(pair, 2).flat_map(|value| of(value, 1)).next()].into_iter();
        let mut part = || text(parts.next().flatten().unwrap_or_default());
        (part(), part())
    };
    Span {
        trace: hex(first(1)),
        id: hex(first(2)),
        parent: hex(first(4)),
        name: text(first(5)),
        attributes: of(bytes, 9).map(attribute).collect(),
    }
}

/// The fields with this number in a message of Protocol Buffers, of those that are bytes, texts and messages.
fn of(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let length = match tag & 7 {
                0 => {
                    varint(&mut rest);
                    0
                }
                1 => 8,
                2 => varint(&mut rest) as usize,
                5 => 4,
                other => panic!("a field has the type {other}"),
            };
            let (field, after) = rest.split_at(length);
            rest = after;
            if (tag >> 3, tag & 7) == (number, 2) {
                return Some(field);
            }
        }
        None
    })
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().expect("a whole number");
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// The device `id` reports, in a trace or none, and is acknowledged.
fn report(wire: &mut Wire, traceparent: Option<&str>) {
    let properties: Vec<_> = traceparent.map(|value| ("traceparent", value)).into_iter().collect();
    wire.send(&wire::publish_with(&properties, "twins/me/reported", br#"{"secret":"hidden"}"#, 7));
    assert_eq!(wire.next().expect("an answer").kind, PUBACK);
}

fn names<'a>(spans: impl IntoIterator<Item = &'a Span>) -> BTreeSet<&'a str> {
    spans.into_iter().map(|span| span.name.as_str()).collect()
}

#[test]
fn the_steps_of_a_publish_with_a_traceparent_are_a_part_of_that_trace_and_others_are_not_sent() {
    let collector = Collector::start();
    let node = Node::start_with(&["--otlp-endpoint", &collector.url()]);
    let mut wire = Wire::connect(node.at.mqtt, true, "traced");
    report(&mut wire, None);
    report(&mut wire, Some(&traceparent("00")));
    let mut other = Wire::connect(node.at.mqtt, true, "other");
    report(&mut other, None);

    report(&mut wire, Some(&traceparent("01")));
    assert_eq!(node.stop(), Some(0));

    let spans = collector.spans();
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).chain([PARENT]).collect();
    for span in &spans {
        assert_eq!(span.trace, TRACE, "{span:?}");
        assert!(ids.contains(span.parent.as_str()), "{span:?} hangs in the air");
        assert!(!format!("{span:?}").contains("hidden"), "{span:?} tells of a payload");
    }
    let steps = ["3.input", "4.route", "5.admit", "6.decide", "7.commit", "8.answer"];
    let direct = spans.iter().filter(|span| span.parent == PARENT);
    assert_eq!(names(direct), BTreeSet::from(steps), "{spans:?}");
    let decided: Vec<_> = spans.iter().filter(|span| span.name == "6.decide").collect();
    assert_eq!(decided.len(), 1, "one input had a trace that is wanted: {decided:?}");
    assert!(decided[0].attributes["twin"].ends_with("traced"), "{decided:?}");
}

#[test]
fn a_request_is_one_tree_and_its_command_is_followed_to_the_device() {
    let collector = Collector::start();
    let node = Node::start_with(&["--otlp-endpoint", &collector.url()]);
    let mut device = Wire::connect(node.at.mqtt, true, "obeys");
    device.subscribe(&[("twins/me/commands", 1)]);

    let sent = ureq::post(format!("http://{}/v1/twins/obeys/commands", node.at.http))
        .header("traceparent", &traceparent("01"))
        .send_json(json!({"name": "go"}));
    assert_eq!(sent.expect("the node answers").status(), 202);
    let command = device.next().expect("the command");
    assert_eq!(command.user_property("traceparent"), Some(traceparent("01")));
    assert_eq!(node.stop(), Some(0));

    let spans = collector.spans();
    let named = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    assert_eq!(named("1.request").parent, PARENT);
    assert_eq!(named("3.input").parent, named("1.request").id);
    assert_eq!(named("5.admit").parent, named("3.input").id);
    assert_eq!(named("11.deliver").parent, named("8.answer").id);
    assert_eq!(named("12.message").parent, PARENT);
}

#[test]
fn a_collector_that_is_not_there_changes_no_answer_and_is_said_once() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports").local_addr();
    let said = said_beside_useless(gone.expect("it is bound"));
    assert_eq!(said.matches("the collector does not take spans").count(), 1, "{said}");
    assert!(said.contains("the collector did not take all spans"), "{said}");
    assert!(said.contains("dropped_span_count="), "{said}");
}

#[test]
fn a_collector_that_never_answers_changes_no_answer_and_what_it_does_not_take_is_counted() {
    let hangs = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let said = said_beside_useless(hangs.local_addr().expect("it is bound"));
    assert!(said.contains("dropped_span_count="), "{said}");
}

/// More steps than the queue takes are acknowledged all the same, and the node stops in order; what it said.
#[track_caller]
fn said_beside_useless(collector: SocketAddr) -> String {
    let (data, at) = (tempfile::tempdir().expect("a temporary folder"), Addresses::free());
    let file = data.path().join("said");
    let log = File::create(&file).expect("the folder is writable");
    let flags = ["--otlp-endpoint", &format!("http://{collector}")];
    let program = Path::new(env!("CARGO_BIN_EXE_twinfold"));
    let process = Process::logging(program, &data.path().join("node"), at, &flags, "warn", log);
    eventually(|| TcpStream::connect(at.mqtt).ok()).expect("the node listens");
    let mut wire = Wire::connect(at.mqtt, true, "unheard");

    for _ in 0..1_000 {
        report(&mut wire, Some(&traceparent("01")));
    }

    let (_, twin) = Api::of(at.http).get("/twins/unheard").expect("the node answers");
    assert_eq!(twin["reported"]["secret"], "hidden");
    assert_eq!(process.stop(), Some(0));
    std::fs::read_to_string(&file).expect("it was written")
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_with_what_to_write() {
    let program = env!("CARGO_BIN_EXE_twinfold");
    let refused =
        std::process::Command::new(program).args(["dev", "--otlp-endpoint", "https://far"]).output();
    let refused = refused.expect("the binary can be started");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("write http://HOST:PORT"), "{said}");
}
