//! HTTP by hand, for requests that no client library would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::node::PATIENCE;

/// What the node answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// The status, and the stable text of a problem.
    pub fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or(""))
    }
}

/// A request in bytes. A `Host` is added where there is none among the headers, and the length of a body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    let is_there = |name: &str| headers.iter().any(|(there, _)| there.eq_ignore_ascii_case(name));
    if !is_there("Host") {
        head += "Host: localhost\r\n";
    }
    if !body.is_empty() && !is_there("Content-Length") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Sends bytes over a connection of their own, and reads until the node closes it. `None` where that says nothing.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(2 * PATIENCE)).expect("a timeout can be set");
    // It may answer, and close, before it has read all.
    drop(stream.write_all(bytes));
    let mut read = Vec::new();
    drop(stream.read_to_end(&mut read));
    let text = String::from_utf8_lossy(&read);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Some(Answer { status, head: head.to_ascii_lowercase(), body })
}
