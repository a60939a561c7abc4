//! Devices that come in by certificates, over TLS and from outside: authorities of the node and of an operator, renewal
//! while connected, revocation, and the certificates that let nobody in.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cluster::transport::authority::{Authority, ClusterId};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use support::cards::{Card, Client, Operator, V5, WRONG, cli, done, request};
use support::node::eventually;
use support::served::{Secured, Served};
use support::wire::{Connect, PUBACK};

/// A node that has an authority, and a device with a certificate of it.
fn equipped() -> (Served, Card) {
    let node = Served::start();
    done(&node, &["cert", "ca", "create", "devices"]);
    done(&node, &["device", "add", "pump-1"]);
    let card = Card::issued(&node, "pump-1");
    (node, card)
}

/// The code of a CONNACK: the server is unavailable.
const BUSY: u8 = 3;

fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap()
}

#[test]
fn a_device_comes_in_by_its_certificate_over_mqtt_and_http() {
    let (node, card) = equipped();
    let client = Client::new(&node, Some(&card));

    let mut mqtt = client.connected(&node, "");
    mqtt.publish("twins/me/reported", br#"{"on":1}"#, Some(1));
    assert_eq!(mqtt.next().map(|packet| (packet.kind, packet.reason())), Some((PUBACK, 0)));
    for username in ["pump-1", "default/pump-1"] {
        assert_eq!(client.reason(&node, username), Some(0), "{username}");
    }
    assert_eq!(client.report(&node), 204);
    assert!(node.get("/v1/twins/pump-1").contains(r#""on":true"#));
    for username in ["pump-2", "acme/pump-1", "default/"] {
        assert_eq!(client.reason(&node, username), Some(WRONG), "{username}");
    }
    let nobody = Client::new(&node, None);
    assert_eq!(nobody.reason(&node, "pump-1"), Some(WRONG), "a name alone is nothing");
    assert_eq!(nobody.report(&node), 401);
    let both = Connect { username: "pump-1", password: Some("x"), ..Connect::of(V5, "client") };
    let (_, answer) = client.connect_as(&node, &both).expect("the handshake is done");
    assert_eq!(answer.reason(), WRONG, "which of the two counts?");
}

/// What a node of a cluster shows to the others.
fn of_a_cluster() -> Card {
    let now = SystemTime::now();
    let authority = Authority::found(ClusterId(7), now).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let signed = authority.sign(request.der(), 1, now).unwrap();
    let pem = |der: &[u8]| {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    Card { chain: pem(&signed), key: key.serialize_pem() }
}

#[test]
fn certificates_of_others_end_the_handshake() {
    let (node, _) = equipped();
    let (foreign, folder) = (Operator::new("devices"), tempfile::tempdir().unwrap());
    let pumps = Operator::new("pumps");
    done(
        &node,
        &["group", "add", "pumps", "--authority", pumps.file(&folder).to_str().unwrap(), "--register"],
    );
    let own = Card {
        chain: std::fs::read_to_string(node.data.path().join("node.pem")).unwrap(),
        key: std::fs::read_to_string(node.data.path().join("node.key")).unwrap(),
    };
    let over = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };

    for (card, why) in [
        (foreign.sign("pump-1"), "nobody believes who signed it"),
        (own, "it is the node's own"),
        (of_a_cluster(), "it is for nodes, at another door"),
        (pumps.sign_with("pump-1", over), "it has expired"),
        (pumps.sign_with("pump-1", server), "it is not for clients"),
    ] {
        let client = Client::new(&node, Some(&card));
        assert_eq!((client.reason(&node, "pump-1"), client.report(&node)), (None, 0), "{why}");
    }
    assert_eq!(Client::new(&node, Some(&pumps.sign("pump-9"))).reason(&node, ""), Some(0));
}

#[test]
fn a_certificate_is_good_for_the_group_and_the_tenant_of_who_signed_it() {
    let (node, _) = equipped();
    let [pumps, valves] = ["pumps", "valves"].map(|name| {
        let (operator, folder) = (Operator::new(name), tempfile::tempdir().unwrap());
        done(
            &node,
            &[
                "group",
                "add",
                name,
                "--authority",
                operator.file(&folder).to_str().unwrap(),
                "--register",
                "--tag",
                "line=4",
            ],
        );
        operator
    });
    let client = |card: &Card| Client::new(&node, Some(card));
    let pump = pumps.sign("pump-7");

    assert_eq!(client(&pump).reason(&node, "pump-7"), Some(0));
    assert!(node.get("/v1/devices/pump-7").contains(r#""group":"pumps""#));
    assert!(node.get("/v1/devices/pump-7").contains(r#""line":4"#));
    assert_eq!(client(&valves.sign("pump-7")).reason(&node, ""), Some(WRONG), "another group's");
    assert_eq!(client(&pumps.sign("pump-1")).reason(&node, ""), Some(WRONG), "of no group");
    let urn = |params: &mut CertificateParams| {
        let other = "urn:twinfold:acme:pump-7".to_owned();
        params.subject_alt_names = vec![rcgen::SanType::URI(other.try_into().unwrap())];
    };
    assert_eq!(client(&pumps.sign_with("pump-7", urn)).reason(&node, ""), None, "another tenant's");

    done(&node, &["group", "disable", "pumps"]);
    assert_eq!(client(&pump).reason(&node, ""), None, "nobody believes who signed it");
    assert!(done(&node, &["group", "enable", "pumps"]).contains("enabled"));
    let mut live = client(&pump).connected(&node, "");
    done(&node, &["group", "bar", "pumps", "--reason", "the factory was broken into"]);
    assert_eq!(client(&pump).reason(&node, ""), Some(WRONG), "it began before");
    assert_eq!(live.next(), None, "who is there is out, too");
    // Certificates begin at whole seconds.
    let later = eventually(|| {
        let later = pumps.sign_with("pump-7", |params| params.not_before = date_time_ymd(1970, 1, 1) + now());
        (client(&later).reason(&node, "") == Some(0)).then_some(later)
    });
    let later = later.expect("what begins later is taken");
    done(&node, &["group", "remove", "pumps"]);
    assert_eq!(client(&later).reason(&node, ""), None, "nobody believes it any more");
    assert_eq!(client(&valves.sign("valve-1")).report(&node), 204, "others are let in as before");
}

#[test]
fn what_is_revoked_is_out_at_once_and_resumes_no_session() {
    for version in [&TLS12, &TLS13] {
        let (node, card) = equipped();
        let client = Client::speaking(&node, Some(&card), &[version]);
        let mut live = client.connected(&node, "");
        // In TLS 1.3 tickets come with the first word of the node.
        let resumed = client.connected(&node, "");
        assert_eq!(resumed.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        drop(resumed);
        let list = done(&node, &["cert", "list"]);
        assert!(list.contains("pump-1") && list.contains("devices"), "{list}");

        done(&node, &["cert", "revoke", "pump-1", "--reason", "stolen"]);

        assert_eq!(live.next(), None, "it has ended");
        let (again, answer) = client.connect(&node, "").expect("the node answers");
        assert_eq!(again.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed), "this is what is tried");
        assert_eq!(answer.reason(), WRONG);
        let anew = Client::new(&node, Some(&card));
        assert_eq!((anew.reason(&node, ""), client.report(&node)), (Some(WRONG), 401));
        let (again, _, said) = cli(&node, &["cert", "revoke", "pump-1"]);
        assert!(!again && said.contains("has no certificate of this node"), "{said}");
    }
}

#[test]
fn a_certificate_that_is_wrong_counts_as_a_guess_and_one_that_is_right_waits_for_nobody() {
    let (node, card) = equipped();
    let (pumps, folder) = (Operator::new("pumps"), tempfile::tempdir().unwrap());
    done(&node, &["group", "add", "pumps", "--authority", pumps.file(&folder).to_str().unwrap()]);
    let shown = |n: u32| Client::new(&node, Some(&pumps.sign(&format!("nobody-{n}")))).reason(&node, "");

    let first = (0..90).map(|n| (n, shown(n))).find(|(_, reason)| *reason != Some(WRONG));

    assert!(matches!(first, Some((30.., Some(BUSY)))), "the address has to wait: {first:?}");
    assert_eq!(Client::new(&node, Some(&card)).reason(&node, ""), Some(0));
}

#[test]
fn who_is_not_believed_any_more_resumes_no_session() {
    for version in [&TLS12, &TLS13] {
        let (node, card) = equipped();
        let client = Client::speaking(&node, Some(&card), &[version]);
        drop(client.connected(&node, ""));

        done(&node, &["cert", "ca", "create", "others"]);
        let full = client.connected(&node, "");
        let kind = full.stream.conn.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full), "others are believed than before");
        drop(full);
        done(&node, &["cert", "ca", "retire", "devices"]);
        assert_eq!(client.reason(&node, ""), Some(0), "what it signed goes on");
        let mut live = client.connected(&node, "");
        done(&node, &["cert", "ca", "remove", "devices"]);

        assert_eq!(live.next(), None, "who is there is out, too");
        assert_eq!((client.reason(&node, ""), client.report(&node)), (None, 0));
    }
}

#[test]
fn each_request_of_a_connection_is_asked_about_anew() {
    let (node, card) = equipped();
    let client = Client::new(&node, Some(&card));
    let report = |stream: &mut Secured, beside: &str| {
        let head = format!("PATCH /v1/twins/me/reported HTTP/1.1\r\nHost: localhost\r\n{beside}");
        let body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let (mut answer, mut part) = (String::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut part).unwrap();
            answer.push_str(std::str::from_utf8(&part[..length]).unwrap());
            let whole = answer.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                length.map_or(0, |length| length.parse().unwrap()) <= body.len()
            });
            if whole {
                return answer[9..12].to_owned();
            }
            assert!(length > 0, "it was closed: {answer}");
        }
    };

    let (mut first, mut second) = (client.open(node.https), client.open(node.https));

    assert_eq!([report(&mut first, ""), report(&mut first, "")], ["204", "204"]);
    let token = format!("Authorization: Bearer {}\r\n", node.token);
    assert_eq!(report(&mut second, ""), "204");
    assert_eq!(report(&mut second, &token), "401", "what is said beside counts, too");
    done(&node, &["cert", "revoke", "pump-1"]);
    assert_eq!(report(&mut first, ""), "401");
}

#[test]
fn a_certificate_is_renewed_while_connected_and_both_are_valid_for_a_while() {
    let (node, card) = equipped();
    let client = Client::new(&node, Some(&card));
    let ((key, csr), mut mqtt) = (request(), client.connected(&node, ""));

    let renewed = mqtt.apply("renew", &json!({"csr": csr, "grace_s": 3600}));
    let again = mqtt.apply("renew", &json!({"csr": csr, "grace_s": 3600}));

    assert_eq!(renewed["status"], 200, "{renewed}");
    assert_eq!(again, renewed, "a lost answer is given again");
    let chain = renewed["payload"]["certificate"].as_str().unwrap().to_owned();
    let next = Client::new(&node, Some(&Card { chain, key }));
    assert_eq!((next.reason(&node, "pump-1"), client.reason(&node, "pump-1")), (Some(0), Some(0)));
    let (key, csr) = request();
    let (status, third) =
        next.call(&node, "POST /v1/twins/me/credentials/renew", &json!({"csr": csr}).to_string());
    assert_eq!(status, 200, "{third}");
    let chain = third["certificate"].as_str().unwrap().to_owned();
    assert_eq!(Client::new(&node, Some(&Card { chain, key })).report(&node), 204);
    assert_eq!((next.report(&node), client.report(&node)), (204, 401), "two at most");
    for body in [json!({}), json!({"csr": "none"}), json!({"csr": "none", "nonce": "short"})] {
        assert_eq!(
            next.call(&node, "POST /v1/twins/me/credentials/renew", &body.to_string()).0,
            422,
            "{body}"
        );
    }
}

#[test]
fn a_device_activates_itself_with_a_certificate_request_once() {
    let (node, _) = equipped();
    let shown = done(&node, &["device", "add", "pump-2", "--generate"]);
    let activation = shown.lines().last().and_then(|line| line.strip_prefix("activation key  ")).unwrap();
    let nobody = Client::new(&node, None);
    let activate = |csr: &str| {
        let body = json!({"device_id": "pump-2", "activation_key": activation, "csr": csr});
        nobody.call(&node, "POST /v1/provision/activate", &body.to_string())
    };
    let ((key, csr), (_, other)) = (request(), request());

    let (status, given) = activate(&csr);

    assert_eq!((status, &given["key"]), (200, &Value::Null), "{given}");
    assert_eq!(activate(&csr), (200, given.clone()), "a lost answer is given again");
    let (status, refused) = activate(&other);
    assert_eq!((status, &refused["code"]), (409, &json!("already-activated")));
    let chain = given["certificate"].as_str().unwrap().to_owned();
    assert_eq!(Client::new(&node, Some(&Card { chain, key })).reason(&node, "pump-2"), Some(0));
    done(&node, &["cert", "ca", "retire", "devices"]);
    let (refused, _, said) =
        cli(&node, &["cert", "issue", "pump-2", "--generate", node.data.path().to_str().unwrap()]);
    assert!(!refused && said.contains("no-authority") && said.contains("next: "), "{said}");
    assert!(!node.data.path().join("pump-2.key").exists(), "nothing is left of what was refused");
}

#[test]
fn a_root_of_the_operators_signs_for_the_authority() {
    let (node, card) = equipped();
    let (root, folder) = (Operator::new("root"), tempfile::tempdir().unwrap());
    let csr = done(&node, &["cert", "ca", "csr", "devices"]);
    let params = rcgen::CertificateSigningRequestParams::from_pem(&csr).unwrap();
    let file = folder.path().join("chain.pem");
    std::fs::write(&file, params.signed_by(&root.issuer).unwrap().pem() + &root.root).unwrap();

    done(&node, &["cert", "ca", "import", "devices", file.to_str().unwrap()]);

    assert!(done(&node, &["cert", "ca", "show", "devices"]).ends_with(&root.root));
    let rooted = root.file(&folder);
    done(&node, &["group", "add", "all", "--authority", rooted.to_str().unwrap()]);
    done(&node, &["device", "add", "pump-2", "--group", "all"]);
    let next = Card::issued(&node, "pump-2");
    assert!(next.chain.ends_with(&root.root));
    for (card, device) in [(&card, "pump-1"), (&next, "pump-2")] {
        assert_eq!(Client::new(&node, Some(card)).reason(&node, device), Some(0), "{device}");
    }
    done(&node, &["cert", "revoke", "pump-2"]);
    let revoked = Client::new(&node, Some(&next)).reason(&node, "pump-2");
    assert_eq!(revoked, Some(WRONG), "also where its group believes the root");
    assert_eq!(Client::new(&node, Some(&root.sign("pump-2"))).reason(&node, ""), Some(0));
    let (taken, _, said) = cli(&node, &["cert", "ca", "import", "devices", rooted.to_str().unwrap()]);
    assert!(!taken && said.contains("another key"), "{said}");
    let own = folder.path().join("own.pem");
    std::fs::write(&own, done(&node, &["cert", "ca", "show", "devices"])).unwrap();
    let (taken, _, said) = cli(&node, &["group", "add", "own", "--authority", own.to_str().unwrap()]);
    assert!(!taken && said.contains("is an authority of this node"), "{said}");
}

#[test]
fn a_groups_key_is_derived_for_each_of_its_devices() {
    let node = Served::start();
    done(&node, &["group", "add", "valves", "--generate-key", "--desired", r#"{"rate":2}"#]);
    done(&node, &["device", "add", "valve-1", "--group", "valves"]);
    let key = done(&node, &["group", "key", "valves", "valve-1"]);

    let report = |device: &str| {
        let shown = BASE64_STANDARD.encode(format!("{device}:{}", key.trim()));
        node.asked(&format!(
            "PATCH /v1/twins/me/reported HTTP/1.1\r\nAuthorization: Basic {shown}\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        ))
    };

    assert!(report("valve-1").starts_with("HTTP/1.1 204"));
    assert!(report("valve-2").starts_with("HTTP/1.1 401"));
    let audit: Value =
        serde_json::from_str(node.get("/v1/audit").rsplit("\r\n\r\n").next().unwrap()).unwrap();
    let shown = audit["items"].as_array().unwrap().iter().find(|line| line["action"] == "group-key-shown");
    let shown = shown.unwrap_or_else(|| panic!("{audit}"));
    assert_eq!(
        (&shown["subject"], &shown["details"]["device"]),
        (&json!("valves"), &json!("valve-1")),
        "{shown}"
    );
    assert!(node.get("/v1/twins/valve-1").contains(r#""rate":2"#));
    done(&node, &["group", "bar", "valves"]);
    assert!(report("valve-1").starts_with("HTTP/1.1 401"));
    let (shown, _, said) = cli(&node, &["group", "key", "valves", "valve-1"]);
    assert!(!shown && said.contains("are barred"), "{said}");
}
