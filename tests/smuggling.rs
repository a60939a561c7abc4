//! Bytes of HTTP that a proxy before the node and the node could take apart in two ways, so that a request hides in
//! another's body. Each is refused whole, in `dev` and in `serve`: one answer, a closed connection, and what was hidden
//! in it was never heard.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::node::Node;
use support::raw;
use support::served::Served;

/// The request that hides; `ID` stands for the device that it would register.
const HIDDEN: &str = "PUT /v1/devices/ID HTTP/1.1\r\nHost: localhost\r\nAUTHORIZATIONContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// Each with lines of a head and what stands behind it, where `HIDDEN` is the request that hides.
const AMBIGUOUS: [(&str, &str, &str); 21] = [
    ("two ends, chunks first", "Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\nHIDDEN"),
    ("two ends, the length first", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\nHIDDEN"),
    ("two lengths", "Content-Length: 2\r\nContent-Length: 200", "{}HIDDEN"),
    ("the same length twice", "Content-Length: 2\r\nContent-Length: 2", "{}HIDDEN"),
    ("a list of lengths", "Content-Length: 2, 200", "{}HIDDEN"),
    ("a length with a sign", "Content-Length: +2", "{}HIDDEN"),
    ("a length in hexadecimal", "Content-Length: 0x2", "{}HIDDEN"),
    ("a name with a space", "Content-Length : 2", "{}HIDDEN"),
    ("a folded line", "Content-Length: 2\r\nX: a\r\n Transfer-Encoding: chunked", "{}HIDDEN"),
    ("a folded encoding", "Content-Length: 2\r\nTransfer-Encoding:\r\n chunked", "0\r\n\r\nHIDDEN"),
    ("chunks that are not last", "Transfer-Encoding: chunked, identity", "0\r\n\r\nHIDDEN"),
    ("an unknown encoding", "Transfer-Encoding: xchunked", "0\r\n\r\nHIDDEN"),
    ("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\nHIDDEN"),
    ("two hosts", "Host: elsewhere\r\nContent-Length: 2", "{}HIDDEN"),
    ("a chunk of no size", "Transfer-Encoding: chunked", "x\r\n\r\nHIDDEN"),
    ("a chunk of more than there can be", "Transfer-Encoding: chunked", "ffffffffffffffff2\r\n{}HIDDEN"),
    ("a chunk that ends with LF alone", "Transfer-Encoding: chunked", "2\n{}\n0\n\nHIDDEN"),
    ("LF in a chunk's extension", "Transfer-Encoding: chunked", "2;a\nb\r\n{}\r\n0\r\n\r\nHIDDEN"),
    ("a word behind a chunk's size", "Transfer-Encoding: chunked", "2 x\r\n{}\r\n0\r\n\r\nHIDDEN"),
    ("CR in a line", "X: a\rb\r\nContent-Length: 2", "{}HIDDEN"),
    ("a NUL in a line", "X: a\0b\r\nContent-Length: 2", "{}HIDDEN"),
];

/// Sends it, and reads until the node closes the connection.
fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> String {
    // It may answer, and close, before it has read all.
    drop(stream.write_all(bytes));
    let mut read = Vec::new();
    drop(stream.read_to_end(&mut read));
    String::from_utf8_lossy(&read).into_owned()
}

/// Tries all of them; `of` is the line that says who asks.
fn all_are_refused<S: Read + Write>(connect: impl Fn() -> S, of: &str, is_there: impl Fn(&str) -> bool) {
    for (n, (what, lines, behind)) in AMBIGUOUS.iter().enumerate() {
        let id = format!("hidden-{n}");
        let hidden = HIDDEN.replace("ID", &id).replace("AUTHORIZATION", of);
        let behind = behind.replace("HIDDEN", &hidden);
        let head = format!(
            "PUT /v1/devices/seen-{n} HTTP/1.1\r\nHost: localhost\r\n{of}Content-Type: application/json\r\n{lines}"
        );

        let said = exchange(connect(), format!("{head}\r\n\r\n{behind}").as_bytes());

        let answers: Vec<_> = said.match_indices("HTTP/1.1 ").map(|(at, _)| &said[at + 9..at + 12]).collect();
        assert!(matches!(answers[..], [] | ["400"]), "{what}: {said}");
        assert!(!is_there(&id) && !is_there(&format!("seen-{n}")), "{what}: it was heard");
    }
    // The same without anything ambiguous is heard, and so is what comes behind it.
    let hidden = HIDDEN.replace("ID", "second").replace("AUTHORIZATION", of);
    let hidden = hidden.replace("Content-Length", "Connection: close\r\nContent-Length");
    let head = format!(
        "PUT /v1/devices/first HTTP/1.1\r\nHost: localhost\r\n{of}Content-Type: application/json\r\n"
    );
    let said = exchange(connect(), format!("{head}Content-Length: 2\r\n\r\n{{}}{hidden}").as_bytes());
    assert_eq!(said.matches("HTTP/1.1 201").count(), 2, "{said}");
    assert!(is_there("first") && is_there("second"));
}

#[test]
fn what_hides_in_another_request_is_not_heard_in_dev() {
    let node = Node::start();
    let connect = || {
        let stream = TcpStream::connect(node.at.http).expect("the node listens");
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout can be set");
        stream
    };
    let is_there = |id: &str| {
        let asked = raw::request("GET", &format!("/v1/devices/{id}"), &[], b"");
        raw::exchange(node.at.http, &asked).expect("the node answers").status == 200
    };
    all_are_refused(connect, "", is_there);
}

#[test]
fn what_hides_in_another_request_is_not_heard_in_the_open() {
    let node = Served::start();
    let of = format!("Authorization: Bearer {}\r\n", node.token);
    let is_there = |id: &str| node.get(&format!("/v1/devices/{id}")).starts_with("HTTP/1.1 200");
    all_are_refused(|| node.secured(node.https), &of, is_there);
}
