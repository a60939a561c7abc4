//! What happens, as it happens: followers of the streams over HTTP and on the command line, over cuts and restarts.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::node::{Node, PATIENCE, eventually};
use support::online::Online;

/// A stream of events, read by hand.
struct Stream {
    status: u16,
    lines: BufReader<TcpStream>,
}

/// An event, or a sign of life.
#[derive(Debug, Default, Clone)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    fn open(node: &Node, query: &str, last: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(node.at.http).expect("the node listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /v1/events/stream?{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n"
        );
        socket.write_all(head.as_bytes()).expect("the node reads");
        let mut lines = BufReader::new(socket);
        let mut line = String::new();
        lines.read_line(&mut line).expect("a status");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        while line != "\r\n" {
            line.clear();
            lines.read_line(&mut line).expect("a head");
        }
        Self { status, lines }
    }

    /// The next one, with or without data; none at the end.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut begun = false;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("the stream goes on") == 0 {
                return None;
            }
            let line = line.trim_end();
            // Between the lines of events are those of the transfer: the length of a piece, in hexadecimal digits.
            if let Some((field, value)) = line.split_once(": ") {
                begun = true;
                match field {
                    "event" => value.clone_into(&mut event.name),
                    "id" => value.clone_into(&mut event.id),
                    "data" => event.data = serde_json::from_str(value).expect("data is JSON"),
                    _ => {}
                }
            } else if line.is_empty() && begun {
                return Some(event);
            } else if line == "0" {
                return None;
            }
        }
    }

    /// The next one with data.
    fn event(&mut self) -> Event {
        loop {
            let event = self.next().expect("the stream goes on");
            if !event.data.is_null() {
                return event;
            }
        }
    }
}

fn sample(device: &mut Online, n: u64) {
    device.publish("twins/me/telemetry/n", n.to_string());
}

fn value(event: &Event) -> u64 {
    event.data["data"]["value"].as_u64().unwrap_or_else(|| panic!("a sample was expected: {event:?}"))
}

#[test]
fn what_happens_is_seen_within_milliseconds() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "ticker", false);
    let mut stream = Stream::open(&node, "twin=ticker&type=telemetry", None);
    assert_eq!((stream.status, stream.next().expect("a sign of life").data), (200, Value::Null));

    let mut took = Vec::new();
    for n in 0..20 {
        let begun = Instant::now();
        sample(&mut device, n);
        assert_eq!(value(&stream.event()), n);
        took.push(begun.elapsed());
    }

    took.sort_unstable();
    assert!(took[10] < Duration::from_millis(250), "the median of {took:?}");
}

#[test]
fn an_event_is_an_envelope_and_a_follower_hears_of_what_it_asked_for_alone() {
    let node = Node::shared();
    let (mut heard, mut other) =
        (Online::connect(node.at.mqtt, "heard", false), Online::connect(node.at.mqtt, "unheard", false));
    let mut stream = Stream::open(&node, "twin=heard&type=reported", None);
    let mut all = Stream::open(&node, "type=reported", None);
    for stream in [&mut stream, &mut all] {
        stream.next().expect("a sign of life");
    }

    other.report(&json!({"a": 1}));
    sample(&mut heard, 1);
    heard.report(&json!({"a": 2}));

    let event = stream.event();
    assert_eq!((&event.data["twin"], &event.data["type"]), (&"heard".into(), &"reported".into()));
    assert_eq!((&event.data["cursor"], &event.data["data"]["patch"]), (&event.id.into(), &json!({"a": 2})));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let event = all.event();
        if ["heard", "unheard"].contains(&event.data["twin"].as_str().unwrap_or_default()) {
            seen.push(event.data["data"]["patch"]["a"].clone());
        }
    }
    assert_eq!(seen, [json!(1), json!(2)]);
}

#[test]
fn a_stream_is_resumed_over_a_restart_without_a_gap_or_a_repeat() {
    let mut node = Node::start();
    let mut device = Online::connect(node.at.mqtt, "resumer", false);
    for n in 0..50 {
        sample(&mut device, n);
    }
    let mut stream = Stream::open(&node, "type=telemetry&from=earliest", None);
    let mut seen: Vec<Event> = (0..30).map(|_| stream.event()).collect();

    for kill in [false, true] {
        let begun = Instant::now();
        node = if kill { node.kill_and_restart() } else { node.restart().1 };
        assert!(begun.elapsed() < PATIENCE, "a follower does not hold up a stop");
        let last = seen.last().expect("some were seen").id.clone();
        device = Online::connect(node.at.mqtt, "resumer", false);
        let from = 50 * seen.len() as u64 / 30;
        for n in from..from + 50 {
            sample(&mut device, n);
        }
        stream = Stream::open(&node, "type=telemetry", Some(&last));
        seen.extend((0..30).map(|_| stream.event()));
    }

    assert_eq!(seen.iter().map(value).collect::<Vec<_>>(), (0..90).collect::<Vec<_>>());
    drop(device);
}

#[test]
fn a_stop_ends_the_streams_and_says_why() {
    let node = Node::start();
    let mut stream = Stream::open(&node, "", None);
    stream.next().expect("a sign of life");

    let begun = Instant::now();
    let stopping = std::thread::spawn(move || node.stop());
    let event = stream.event();

    assert_eq!(event.name, "closed");
    assert!(event.data["why"].as_str().is_some_and(|why| why.contains("stopping")), "{event:?}");
    assert!(stream.next().is_none(), "nothing follows");
    drop(stream);
    assert_eq!(stopping.join().expect("it stops"), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[test]
fn what_cannot_be_followed_is_refused_before_the_stream_begins() {
    let node = Node::shared();
    for (query, last, status) in [
        ("twin=nobody-knows-it", None, 404),
        ("from=nonsense", None, 400),
        ("shard=64", None, 400),
        ("type=overheated", None, 400),
        ("shard=3&from=4:0", None, 400),
        ("", Some("nonsense"), 400),
    ] {
        assert_eq!(Stream::open(&node, query, last).status, status, "{query} {last:?}");
    }
    let mut head = TcpStream::connect(node.at.http).expect("the node listens");
    head.write_all(b"HEAD /v1/events/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    head.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    let mut answer = String::new();
    head.read_to_string(&mut answer).expect("the answer ends");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn there_are_only_so_many_followers() {
    let node = Node::start_with(&["--each-tenant-streams", "100"]);
    let mut streams: Vec<_> = (0..64).map(|_| Stream::open(&node, "", None)).collect();
    assert!(streams.iter().all(|stream| stream.status == 200));

    assert_eq!(Stream::open(&node, "", None).status, 429);

    // A seat is free again when its client has gone and the node has tried to tell it something.
    streams.clear();
    let mut device = Online::connect(node.at.mqtt, "speaker", false);
    let free = eventually(|| {
        sample(&mut device, 1);
        (Stream::open(&node, "", None).status == 200).then_some(())
    });
    free.expect("a seat is free again");
}

#[test]
fn a_follower_that_takes_nothing_costs_no_memory_and_is_cut() {
    let node = Node::start_with(&["--http-stall-s", "2"]);
    let mut device = Online::connect(node.at.mqtt, "chatty", false);
    let stuck: Vec<_> = (0..16).map(|_| Stream::open(&node, "type=telemetry&from=earliest", None)).collect();
    let text = "x".repeat(100_000);
    for _ in 0..20 {
        device.publish("twins/me/telemetry/text", format!("\"{text}\""));
    }
    let before = node.resident_bytes();

    // 40 MB, which each of them has asked for.
    for _ in 0..400 {
        device.publish("twins/me/telemetry/text", format!("\"{text}\""));
    }

    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{} MiB for 16 followers that take nothing", grown >> 20);
    let open = node.descriptors();
    eventually(|| (node.descriptors() + 16 <= open).then_some(())).expect("they are cut");
    for stream in stuck {
        drop(stream.lines.get_ref().shutdown(Shutdown::Both));
    }
}

#[test]
fn what_is_too_old_is_trimmed_also_where_nothing_happens_and_a_reader_hears_where_to_go_on() {
    let node = Node::start_with(&["--keep-for-s", "2", "--checkpoint-every-ms", "200"]);
    let mut device = Online::connect(node.at.mqtt, "aging", false);
    for n in 0..10 {
        sample(&mut device, n);
    }
    let (_, page) = node.api().get("/twins/aging/telemetry?limit=2").expect("an answer");
    let (one, first) = (page["next"].as_str().expect("a cursor").to_owned(), &page["items"][0]);
    let (_, page) = node.api().get("/events?limit=2").expect("an answer");
    let all = page["next"].as_str().expect("a cursor").to_owned();
    assert_eq!(first["data"]["value"], 0);

    let trimmed = eventually(|| {
        let (status, problem) = node.api().get(&format!("/twins/aging/telemetry?from={one}"))?;
        (status == 410).then_some(problem)
    });
    let trimmed = trimmed.expect("what is too old is trimmed");

    let earliest = trimmed["earliest"].as_str().expect("where to read on").to_owned();
    let (shard, _) = one.split_once(':').expect("a cursor of one shard");
    assert!(earliest.starts_with(&format!("{shard}:")), "{trimmed}");
    let (status, problem) = node.api().get(&format!("/events?from={all}")).expect("an answer");
    assert_eq!((status, &problem["code"]), (410, &"trimmed".into()), "{problem}");
    assert_eq!(Stream::open(&node, "twin=aging", Some(&one)).status, 410);
    let everywhere = problem["earliest"].as_str().expect("where to read on").to_owned();

    // What is said from now on is found from either cursor.
    sample(&mut device, 10);
    for from in [
        format!("/twins/aging/telemetry?from={earliest}"),
        format!("/events?type=telemetry&from={everywhere}"),
    ] {
        let (status, page) = node.api().get(&from).expect("an answer");
        // Of what came before, some may be in a segment of its own that is not old enough yet.
        let last = page["items"].as_array().and_then(|items| items.last());
        assert_eq!((status, last.map(|last| &last["data"]["value"])), (200, Some(&10.into())), "{page}");
    }

    // The files are gone, and a restart does not bring back what was in them.
    let segments = node.segments(shard);
    eventually(|| (!segments().contains(&"00000000000000000000.stream".to_owned())).then_some(()))
        .expect("the first file is removed");
    let node = node.kill_and_restart_with(&["--keep-for-s", "2", "--checkpoint-every-ms", "200"]);
    let (status, _) = node.api().get(&format!("/twins/aging/telemetry?from={one}")).expect("an answer");
    assert_eq!(status, 410);
}

#[test]
fn a_stream_is_no_larger_than_it_may_be_and_a_slow_follower_is_told() {
    // A shard keeps 1 MiB.
    let node = Node::start_with(&["--keep-bytes", "67108864", "--checkpoint-every-ms", "200"]);
    let mut device = Online::connect(node.at.mqtt, "verbose", false);
    let text = format!("\"{}\"", "x".repeat(100_000));
    device.publish("twins/me/telemetry/text", text.clone());
    let mut stream = Stream::open(&node, "twin=verbose&type=telemetry&from=earliest", None);
    stream.event();

    // 20 MB go by while nobody reads.
    for _ in 0..200 {
        device.publish("twins/me/telemetry/text", text.clone());
    }

    let (status, page) = node.api().get("/twins/verbose/telemetry?limit=1").expect("an answer");
    assert_eq!(status, 200, "{page}");
    let cursor = page["next"].as_str().expect("a cursor").to_owned();
    let (shard, offset) = cursor.split_once(':').expect("a cursor of one shard");
    assert!(offset.parse::<u64>().expect("an offset") > 180, "{cursor}");
    let segments = node.segments(shard);
    eventually(|| (segments().len() <= 12).then_some(())).expect("what is kept is small");
    let end = loop {
        let event = stream.event();
        if !event.name.is_empty() {
            break event;
        }
    };
    assert_eq!(end.name, "trimmed", "{end:?}");
    assert!(end.data["earliest"].as_str().is_some_and(|earliest| earliest.starts_with(&format!("{shard}:"))));
    assert!(stream.next().is_none(), "nothing follows");
}

/// A verb that follows, as a process.
struct Follower {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    fn start(node: &Node, verb: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twinfold"))
            .args(verb)
            .args(["--url", &format!("http://{}", node.at.http)])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints text");
        line.trim_end().to_owned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn events_follow_goes_on_over_a_restart() {
    let node = Node::start();
    let mut device = Online::connect(node.at.mqtt, "followed", false);
    sample(&mut device, 0);
    let verb =
        ["events", "follow", "--twin", "followed", "--type", "telemetry", "--from", "earliest", "--json"];
    let mut follower = Follower::start(&node, &verb);
    let value =
        |line: &str| serde_json::from_str::<Value>(line).expect("a line is JSON")["data"]["value"].clone();
    assert_eq!(value(&follower.line()), 0);

    sample(&mut device, 1);
    assert_eq!(value(&follower.line()), 1);
    let node = node.kill_and_restart();
    let mut device = Online::connect(node.at.mqtt, "followed", false);
    sample(&mut device, 2);

    assert_eq!(value(&follower.line()), 2);
}

#[test]
fn twin_watch_shows_what_changes() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "watched", true);
    let mut watcher = Follower::start(&node, &["twin", "watch", "watched"]);
    // It begins with what comes next, so it has to be there first.
    let mut n = 0;
    std::thread::scope(|scope| {
        let line = scope.spawn(|| watcher.line());
        while !line.is_finished() {
            n += 1;
            device.report(&json!({"n": n}));
            std::thread::sleep(Duration::from_millis(50));
        }
        let line = line.join().expect("a line");
        assert!(line.contains("  reported      {\"n\":") && line.ends_with("}  by device"), "{line}");
    });

    let (status, _) =
        node.api().patch("/twins/watched", &json!({"desired": {"speed": 3}})).expect("an answer");
    assert_eq!(status, 200);
    let line = loop {
        let line = watcher.line();
        if !line.contains("  reported ") {
            break line;
        }
    };
    assert!(line.contains("  desired       {\"speed\":3}  by user"), "{line}");
}
