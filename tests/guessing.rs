//! 100,000 wrong passwords, of people and of devices, over many connections of both protocols: nobody comes in, those who
//! are let in still are, and neither memory, log nor audit grows with the flood.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use socket2::{Domain, Socket, Type};

use support::http::Api;
use support::raw::{self, request};
use support::served::{PLAIN, Served};
use support::wire::{CONNACK, Connect, Wire};

/// How many requests are on their way in one connection.
const AT_ONCE: usize = 50;
/// From where the flood comes, and from where those do who are let in.
const FLOOD: [u8; 4] = [127, 0, 0, 66];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 7];

#[test]
fn who_guesses_100_000_times_comes_in_nowhere_and_harms_nobody() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = said.clone();
    let hear = move |line: &str| heard.lock().expect("nobody panics with it").push(line.to_owned());
    let flags = [&PLAIN[..], &["--connects-per-s", "100000"]].concat();
    let node = Served::begin(&flags, &[], hear);
    let (mqtt, http) = node.plain();
    let admin = Api::with_token(http, &node.token);
    assert_eq!(admin.put("/devices/pump-1", &json!({})).unwrap().0, 201);
    let (_, given) = admin.post("/devices/pump-1/activate", &json!({})).unwrap();
    let key = given["key"].as_str().expect("a key").to_owned();
    let audited = entries(&admin);
    let before = node.process.resident_bytes();

    let refused: usize = thread::scope(|scope| {
        let people = (0..4).map(|n| scope.spawn(move || guess(http, 15_000, |i| of_a_person(n, i))));
        // Eight at once: so many owe more time than anybody may wait, and the rest is turned away unseen.
        let devices = (0..8).map(|n| scope.spawn(move || guess(http, 3_750, |i| of_a_device(n, i))));
        let mqtts = (0..8).map(|n| scope.spawn(move || connect(mqtt, 1_250, n)));
        let all: Vec<_> = people.chain(devices).chain(mqtts).collect();
        all.into_iter().map(|thread| thread.join().expect("it guesses to its end")).sum()
    });

    assert_eq!(refused, 100_000);
    // Nor does what is no HTTP at all.
    for no_http in [&b"\x10\x0dMQTT"[..], b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nX : y\r\n\r\n"] {
        (0..100).for_each(|_| drop(raw::exchange(http, no_http)));
    }
    assert_eq!(admin.get("/devices/pump-1").unwrap().0, 200, "who has a token is let in");
    assert_eq!(report(http, "pump-1", &key), 204, "the device is let in from elsewhere");
    let grown = node.process.resident_bytes().saturating_sub(before);
    assert!(grown < 96 << 20, "it grew by {grown} bytes");
    let noted = entries(&admin) - audited;
    assert!(noted < 10, "it is {noted} entries in the audit");
    let said = said.lock().expect("nobody panics with it").clone();
    assert!(!said.is_empty() && said.len() < 20, "it is said, in few lines: {said:#?}");
    let (_, devices) = admin.get("/devices").unwrap();
    assert_eq!(devices["items"].as_array().map(Vec::len), Some(1), "nobody was registered: {devices}");
}

/// How many entries the audit has.
fn entries(admin: &Api) -> u64 {
    let (status, head) = admin.get("/audit/head").expect("the node answers");
    assert_eq!(status, 200, "{head}");
    head["length"].as_u64().expect("it says how many")
}

/// A token as somebody would make one up.
fn of_a_person(thread: usize, n: usize) -> Vec<u8> {
    let token = format!("Bearer twf_{:016x}_{:A>43}", thread << 32 | n, n);
    request_again("GET", "/v1/devices", &token)
}

/// A password of the device that there is, now and then, and of others.
fn of_a_device(thread: usize, n: usize) -> Vec<u8> {
    let id = if n.is_multiple_of(1_000) { "pump-1".to_owned() } else { format!("pump-{thread}-{n}") };
    request_again("GET", "/v1/twins/me/desired", &basic(&id, &format!("{n:A>43}")))
}

fn basic(id: &str, key: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{key}")))
}

/// A request after which others come.
fn request_again(method: &str, target: &str, authorization: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n")
        .into_bytes()
}

/// Asks so often, many at once over one connection; how often it was refused.
fn guess(http: SocketAddr, most: usize, make: impl Fn(usize) -> Vec<u8>) -> usize {
    let mut stream = from(FLOOD, http);
    let mut refused = 0;
    for begin in (0..most).step_by(AT_ONCE) {
        let asked: Vec<u8> = (begin..begin + AT_ONCE).flat_map(&make).collect();
        stream.write_all(&asked).expect("the node reads");
        let (mut read, mut part) = (Vec::new(), [0; 16 << 10]);
        let ends = loop {
            let length = stream.read(&mut part).expect("the node answers");
            assert_ne!(length, 0, "the node ends the connection: {}", String::from_utf8_lossy(&read));
            read.extend(&part[..length]);
            let text = String::from_utf8_lossy(&read);
            // The last member of each answer's body.
            if text.matches("\"next\":").count() == AT_ONCE && text.ends_with('}') {
                break text.into_owned();
            }
        };
        let statuses = ends.match_indices("HTTP/1.1 ").map(|(at, _)| &ends[at + 9..at + 12]);
        refused += statuses.filter(|status| matches!(*status, "401" | "429" | "503")).count();
    }
    refused
}

/// Connects so often, each time from another address; how often it was refused.
fn connect(mqtt: SocketAddr, most: u16, thread: usize) -> usize {
    let refused = |n: &u16| {
        let [high, low] = n.to_be_bytes();
        let id = if n.is_multiple_of(500) { "pump-1".to_owned() } else { format!("pump-{thread}-{n}") };
        // As a device's key looks.
        let wrong = format!("{n:A>42}A");
        let connect = Connect { password: Some(&wrong), ..Connect::of(true, &id) };
        let stream = from([127, 1, high, low], mqtt);
        let answer = Wire::on(stream, true).send(&connect.bytes()).next().expect("an answer");
        answer.kind == CONNACK && answer.reason() >= 0x80
    };
    (0..most).filter(refused).count()
}

/// Reports by HTTP, from elsewhere: the status.
fn report(http: SocketAddr, id: &str, key: &str) -> u16 {
    let headers = [("Authorization", &*basic(id, key)), ("Content-Type", "application/json")];
    let mut stream = from(ELSEWHERE, http);
    stream
        .write_all(&request("PATCH", "/v1/twins/me/reported", &headers, br#"{"on":true}"#))
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// A connection from an address of this machine.
fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(IpAddr::from(address), 0).into())
        .expect("all of 127.0.0.0/8 is this machine");
    socket.connect(&to.into()).expect("the node listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream.set_nodelay(true).expect("it can be set");
    stream
}
