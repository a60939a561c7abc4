//! A node in the open, from outside: what it shows, whom it lets in, and what it will not speak.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::version::{TLS12, TLS13};

use support::node::eventually;
use support::process::{Addresses, Process};
use support::served::{PLAIN, Served, certify, twinfold, words};
use support::wire::Connect;

/// The status of an answer.
#[track_caller]
fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_else(|| panic!("no answer of HTTP: {answer:?}"))
}

#[test]
fn a_folder_without_an_admin_is_refused_with_the_command_that_makes_one() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let node = folder.path().join("node");

    let refused = twinfold(&words(folder.path()));

    let said = String::from_utf8(refused.stderr).unwrap();
    let next = format!("next: twinfold user add NAME --role admin --data {}", node.display());
    assert_eq!((refused.status.code(), said.trim_end().lines().last()), (Some(2), Some(&*next)), "{said}");
    assert!(!node.exists(), "nothing is made");
}

#[test]
fn a_folder_that_only_dev_ran_in_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let node = folder.path().join("node");
    let program = Path::new(env!("CARGO_BIN_EXE_twinfold"));
    assert_eq!(Process::dev(program, &[], &node, Addresses::free(), &[]).stop(), Some(0));

    let refused = twinfold(&words(folder.path()));

    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("next: twinfold user add NAME --role admin --data "), "{said}");
}

#[test]
fn a_folder_that_lost_its_master_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let node = folder.path().join("node");
    assert!(
        twinfold(&["user", "add", "ada", "--role", "admin", "--data", node.to_str().unwrap()])
            .status
            .success()
    );
    std::fs::remove_file(node.join("master.key")).unwrap();

    let refused = twinfold(&words(folder.path()));

    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("next: restore the master key of this folder"), "{said}");
    assert!(!node.join("master.key").exists(), "no other one is made");
}

#[test]
fn a_folder_is_not_served_under_another_master_key_nor_does_dev_make_one() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let node = folder.path().join("node");
    let data = node.to_str().unwrap();
    assert!(twinfold(&["user", "add", "ada", "--role", "admin", "--data", data]).status.success());
    let (key, kept) = (node.join("master.key"), folder.path().join("kept.key"));
    std::fs::rename(&key, &kept).unwrap();
    let other = BASE64_STANDARD.encode([7; 32]);

    let serving = |master: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_twinfold"));
        command.args(words(folder.path())).env("TWINFOLD_MASTER_KEY", master);
        command
    };
    let right = std::fs::read_to_string(&kept).unwrap();
    let served = || assert_eq!(Process::ready(serving(right.trim())).0.stop(), Some(0));
    served();
    let refused = serving(&other).output().unwrap();

    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("is not the one that the secrets in") && said.contains("next: name the right one"),
        "{said}"
    );
    let refused = twinfold(&["dev", "--data", data, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    assert!(!refused.status.success() && !key.exists());
    served();
}

#[test]
fn who_shows_a_token_is_let_in_and_nobody_else() {
    let node = Served::start();

    let admin = node.get("/v1/devices");
    let nobody = node.asked("GET /v1/devices HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");

    assert_eq!((status(&admin), status(&nobody)), (200, 401), "{nobody}");
    let headers = admin.to_ascii_lowercase();
    for line in [
        "strict-transport-security: max-age=63072000",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(headers.contains(line), "{line}: {headers}");
    }
    let mut device = node.secured(node.mqtts);
    device.write_all(&Connect::of(true, "intruder").bytes()).unwrap();
    let mut answer = [0; 4];
    device.read_exact(&mut answer).unwrap();
    // A CONNACK that says why not.
    assert!(answer[0] == 0x20 && answer[3] >= 0x80, "{answer:?}");
    assert!(node.get("/v1/devices").ends_with(r#""items":[],"next":null}"#), "nobody was registered");
}

#[test]
fn the_command_line_believes_the_node_by_the_file_of_who_signed_for_it() {
    let node = Served::start();
    let (url, wrong) = (format!("https://localhost:{}", node.https.port()), tempfile::tempdir().unwrap());
    certify(wrong.path());
    let list = |folder: &Path, token: &str| {
        let file = folder.join("node.pem");
        twinfold(&["user", "list", "--url", &url, "--token", token, "--ca", file.to_str().unwrap()])
    };

    let shown = list(node.data.path(), &node.token);
    let unbelieved = list(wrong.path(), &node.token);
    let nobody = list(node.data.path(), "none");

    assert!(String::from_utf8_lossy(&shown.stdout).contains("ada"), "{shown:?}");
    let said = String::from_utf8(unbelieved.stderr).unwrap();
    assert!(said.contains("is not believed") && said.contains("next: see whether --url"), "{said}");
    assert_eq!((unbelieved.status.code(), nobody.status.code()), (Some(1), Some(1)));
}

#[test]
fn both_versions_of_tls_are_spoken_and_no_older_one() {
    let node = Served::start();
    for address in [node.mqtts, node.https] {
        for version in [&TLS12, &TLS13] {
            let agreed = node.agree(address, &node.certificate, &[version]).unwrap();
            assert_eq!(agreed.conn.protocol_version(), Some(version.version));
        }

        let mut old = TcpStream::connect(address).unwrap();
        old.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        old.write_all(&hello_of_tls_1_1()).unwrap();
        let mut alert = [0; 7];
        old.read_exact(&mut alert).unwrap();

        // A fatal alert: that the version is too old, or that nothing of it is known any more.
        assert!(alert[0] == 21 && alert[5] == 2 && [40, 70].contains(&alert[6]), "{alert:?}");
    }
}

#[test]
fn plain_text_is_not_answered_where_tls_is_spoken() {
    let node = Served::start();
    let http = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    for (address, said) in [(node.https, http), (node.mqtts, Connect::of(true, "plain").bytes())] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&said).unwrap();

        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));

        // Nothing, or an alert of TLS.
        assert!(answer.first().is_none_or(|byte| *byte == 21), "{answer:?}");
    }
}

#[test]
fn plain_text_needs_loopback_and_to_be_asked_for() {
    let node = Served::start();
    assert!(!node.ready.contains("mqtt://") && !node.ready.contains("http://"), "{}", node.ready);
    let refusal = |flags: &[&str]| {
        let words = words(node.data.path());
        let refused = twinfold(&words.iter().map(String::as_str).chain(flags.to_vec()).collect::<Vec<_>>());
        assert_eq!(refused.status.code(), Some(2));
        String::from_utf8(refused.stderr).unwrap()
    };
    assert!(refusal(&["--mqtt", "127.0.0.1:0"]).contains("add --allow-plaintext"));
    assert!(refusal(&["--http", "0.0.0.0:0", "--allow-plaintext"]).contains("is not loopback"));

    let node = Served::start_with(&PLAIN);
    assert!(node.ready.contains(" mqtt://127.") && node.ready.contains(" http://127."), "{}", node.ready);
}

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let node = Served::start();
    let mut before = node.secured(node.https);
    let first = node.certificate.clone();

    let second = certify(node.data.path());
    node.process.hang_up();

    let shown = || node.agree(node.https, &second, &[&TLS13]).ok().map(drop);
    eventually(shown).expect("the new one is shown");
    assert!(node.agree(node.mqtts, &second, &[&TLS12]).is_ok());
    assert!(node.agree(node.mqtts, &first, &[&TLS13]).is_err());
    before.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    before.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 200, "who is there stays");

    std::fs::write(node.data.path().join("node.key"), "no key").unwrap();
    node.process.hang_up();
    let third = certify(node.data.path());
    node.process.hang_up();
    eventually(|| node.agree(node.https, &third, &[&TLS13]).ok().map(drop))
        .expect("the next whole one is shown");
}

#[test]
fn what_two_servers_could_read_in_two_ways_is_refused() {
    let node = Served::start();
    let check = |lines: &str, body: &str| {
        let token = &node.token;
        let answer = node.asked(&format!(
            "POST /v1/policies HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nConnection: close\r\n{lines}\r\n\r\n{body}"
        ));
        assert_eq!(status(&answer), 400, "{lines}: {answer}");
    };
    check("Host: localhost\r\nContent-Length: 2\r\nContent-Length: 3", "{}");
    check("Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", "0\r\n\r\n");
    check("Host: localhost\r\nTransfer-Encoding: chunked, identity", "0\r\n\r\n");
    check("Host: localhost\r\nContent-Length: +2", "{}");
    check("Host: localhost\r\nX-Folded: a\r\n b\r\nContent-Length: 2", "{}");
    check("Host: localhost\r\nContent-Length : 2", "{}");
    check("Host: localhost\r\nHost: elsewhere\r\nContent-Length: 2", "{}");
    check("Host: localhost\r\nAuthorization: Bearer other\r\nContent-Length: 2", "{}");
    let absolute = node.asked(&format!(
        "GET https://elsewhere/v1/devices HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        node.token
    ));
    assert_eq!(status(&absolute), 400, "{absolute}");
}

#[test]
fn a_node_that_stops_lets_requests_end_and_exits_with_0() {
    let Served { mut process, mqtts, https, .. } = Served::start();

    process.terminate();

    assert_eq!(process.end_within(Duration::from_secs(20)), Some(0));
    assert!(TcpStream::connect(https).is_err() && TcpStream::connect(mqtts).is_err());
}

/// The first words of a client that knows TLS 1.1 at best.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    // No session; two suites of its time; no compression.
    hello.extend([0, 0, 4, 0xC0, 0x13, 0x00, 0x2F, 1, 0]);
    let length = |bytes: usize| u8::try_from(bytes).expect("it is short");
    let mut handshake = vec![1, 0, 0, length(hello.len())];
    handshake.extend(hello);
    let mut record = vec![22, 0x03, 0x01, 0, length(handshake.len())];
    record.extend(handshake);
    record
}
