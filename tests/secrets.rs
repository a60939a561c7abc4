//! No secret leaks: a whole run with secrets that the test knows, after which each of them is looked for, in every form
//! that it could have, in all that the node said or keeps.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use gateway::trust::key::Key;
use gateway::trust::signed::Claims;
use serde_json::{Value, json};

use support::http::Api;
use support::raw::{exchange, request};
use support::served::{PLAIN, Served, twinfold, words};
use support::wire::{CONNACK, Connect, PUBLISH, Packet, Wire};

const NONCE: &str = "7f1f0c5e9a0b4d3c";
/// Known to whoever may read, and so what shows that the search finds what is there: the one in documents, the other, which
/// is a device, in the log.
const OPEN: &str = "planted-in-the-open";
const DEVICE: &str = "pump-1";
const CHOSEN: &str = "planted-activation-key";
const WRONG: &str = "planted-wrong-password";
/// An activation key as people choose it, and forget to quote.
const DIGITS: u64 = 8_765_432_187_654_321;
const TRACE: (&str, &str) = ("TWINFOLD_LOG", "trace");

/// What must not be found, and where it is looked for.
#[derive(Default)]
struct Search {
    secrets: BTreeMap<String, Vec<u8>>,
    seen: Vec<(String, Vec<u8>)>,
}

impl Search {
    /// A secret, as the text that it is, and as the bytes that it stands for.
    fn plant(&mut self, what: &str, text: &str) {
        self.secrets.insert(format!("{what} as it is"), text.into());
        let engines = [&BASE64_URL_SAFE_NO_PAD, &BASE64_STANDARD, &BASE64_STANDARD_NO_PAD];
        if let Some(bytes) = engines.iter().find_map(|engine| engine.decode(text).ok()) {
            self.plant_bytes(what, &bytes);
        }
    }

    fn plant_bytes(&mut self, what: &str, bytes: &[u8]) {
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for (form, text) in [
            ("hexadecimal", hexadecimal.clone()),
            ("capital hexadecimal", hexadecimal.to_uppercase()),
            ("base64", BASE64_STANDARD_NO_PAD.encode(bytes)),
            ("base64url", BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        ] {
            self.secrets.insert(format!("{what} in {form}"), text.into());
        }
        // As a list of numbers, as what derives `Debug` would have it.
        let listed: Vec<_> = bytes.iter().map(u8::to_string).collect();
        self.secrets.insert(format!("{what} as a list"), listed.join(", ").into());
        self.secrets.insert(format!("{what} in bytes"), bytes.to_vec());
    }

    fn see(&mut self, place: impl Into<String>, said: impl Into<Vec<u8>>) {
        let mut said = said.into();
        // What a file has room for holds nothing yet.
        while said.ends_with(&[0; 4 << 10]) {
            said.truncate(said.len() - (4 << 10));
        }
        self.seen.push((place.into(), said));
    }

    /// All files below a folder, but for the one that has the master key.
    fn see_folder(&mut self, place: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("it is a folder") {
            let path = entry.expect("it can be listed").path();
            match path.is_dir() {
                true => self.see_folder(place, &path),
                false if path.ends_with("master.key") => {}
                false => self.see(place, std::fs::read(&path).expect("it can be read")),
            }
        }
    }

    /// Looks for all secrets everywhere. What is in the open has to be found in its places.
    fn settle(&self, open: &[(&str, &str)]) {
        let mut all: Vec<(&str, &[u8])> =
            self.secrets.iter().map(|(what, secret)| (&**what, &**secret)).collect();
        all.extend([OPEN, DEVICE].map(|open| (open, open.as_bytes())));
        // By their first two bytes, so that one pass looks for all.
        let mut begins = vec![Vec::new(); 1 << 16];
        for (what, secret) in all {
            begins[usize::from(u16::from_be_bytes([secret[0], secret[1]]))].push((what, secret));
        }
        let mut found = BTreeSet::new();
        for (place, said) in &self.seen {
            for (at, pair) in said.windows(2).enumerate() {
                let begin = &begins[usize::from(u16::from_be_bytes([pair[0], pair[1]]))];
                let here = begin.iter().filter(|(_, secret)| said[at..].starts_with(secret));
                found.extend(here.map(|(what, _)| (*what, &**place)));
            }
        }
        for (place, what) in open {
            assert!(found.contains(&(what, place)), "nothing is found in {place}");
        }
        found.retain(|(what, _)| ![OPEN, DEVICE].contains(what));
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// What a node says, line by line.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn hear(&self) -> impl Fn(&str) + Send + 'static {
        let said = self.0.clone();
        move |line| {
            let mut said = said.lock().expect("nobody panics with it");
            said.push_str(line);
            said.push('\n');
        }
    }

    fn text(&self) -> String {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

#[test]
fn no_secret_is_in_anything_that_a_node_says_or_keeps() {
    let mut search = Search::default();
    let (text, lines) = (Said::default(), Said::default());
    let node = Served::begin(&PLAIN, &[TRACE], text.hear());
    search.plant("the admin's token", &node.token["twf_0123456789abcdef_".len()..]);
    let master = std::fs::read_to_string(node.folder().join("master.key")).unwrap();
    search.plant("the master key", master.trim());
    let pem = std::fs::read_to_string(node.data.path().join("node.key")).unwrap();
    let body: Vec<_> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    search.plant("the key of the certificate", &body.concat());
    search
        .secrets
        .extend(body.iter().map(|line| ("a line of that key".to_owned(), line.as_bytes().to_vec())));
    search.plant("a chosen activation key", CHOSEN);
    search.plant("a wrong password", WRONG);
    search.secrets.insert("an activation key of digits".into(), DIGITS.to_string().into());

    let keys = live(&mut search, &node);
    ask_in_wrong_ways(&mut search, &node, &keys);
    look_around(&mut search, &node);
    let node = node.kill_and_begin(&[&PLAIN[..], &["--log-format", "json"]].concat(), &[TRACE], lines.hear());
    let (mqtt, http) = node.plain();
    assert_eq!(connack(mqtt, "pump-1", &keys.device).reason(), 0, "after a kill, too");
    assert_eq!(report(http, &format!("Bearer {}", keys.signed)), 204);
    search.see_folder("the data folder of a node that runs", &node.folder());
    look_around(&mut search, &node);
    let Served { process, data, .. } = node;
    assert_eq!(process.stop(), Some(0));
    let folder = data.path().join("node");
    search.see_folder("the data folder", &folder);
    let dumped = twinfold(&["log", "dump", folder.to_str().unwrap(), "--json"]);
    search.see("the log as it is dumped", [dumped.stdout, dumped.stderr].concat());
    search.see("its log", text.text());
    search.see("its log in JSON", lines.text());

    search.settle(&[
        ("its log", DEVICE),
        ("its log in JSON", DEVICE),
        ("the data folder of a node that runs", OPEN),
        ("the data folder", OPEN),
        ("the log as it is dumped", DEVICE),
        ("a backup", OPEN),
        ("/v1/twins/pump-1", OPEN),
        ("/v1/events", OPEN),
        ("/v1/audit", OPEN),
    ]);
}

/// What was handed out.
struct Keys {
    device: String,
    /// A token that the device signed for itself.
    signed: String,
    /// The token of somebody who may read.
    viewer: String,
}

/// A device comes and changes its keys, and people are let in.
fn live(search: &mut Search, node: &Served) -> Keys {
    let (mqtt, http) = node.plain();
    let admin = Api::with_token(http, &node.token);
    let handed = |answer: Option<(u16, Value)>, member: &str| {
        let (status, body) = answer.expect("the node answers");
        assert!(status < 300, "{status} {body}");
        body[member].as_str().unwrap_or_else(|| panic!("there is no `{member}` in {body}")).to_owned()
    };
    let tags = json!({"is": OPEN});
    let generated = json!({"activation_key": {"generate": true}, "tags": tags});
    let generated = handed(admin.put("/devices/pump-1", &generated), "activation_key");
    search.plant("a generated activation key", &generated);
    let (status, _) = admin.put("/devices/pump-2", &json!({"activation_key": CHOSEN})).unwrap();
    assert_eq!(status, 201);
    let nobody = Api::of(http);
    let activation = json!({"device_id": "pump-2", "activation_key": CHOSEN, "nonce": NONCE});
    let key = handed(nobody.post("/provision/activate", &activation), "key");
    search.plant("a key by HTTP", &key);

    let mut wire = Wire::open(mqtt, false);
    let password = Some(&*generated);
    wire.send(&Connect { password, ..Connect::of(false, "pump-1") }.bytes()).next().expect("a CONNACK");
    let device = applied(&mut wire, "activate", &json!({"nonce": NONCE}));
    search.plant("a key by MQTT", &device);
    let mut wire = Wire::open(mqtt, false);
    wire.send(&Connect { password: Some(&device), ..Connect::of(false, "pump-1") }.bytes()).next();
    let device = applied(&mut wire, "rotate", &json!({"nonce": NONCE}));
    search.plant("a key that replaced another", &device);
    wire.publish("twins/me/reported", json!({"is": OPEN}).to_string().as_bytes(), Some(9)).next();
    let rotated = admin.post("/devices/pump-2/rotate", &json!({"reason": OPEN}));
    search.plant("a key by an operator", &handed(rotated, "key"));
    let claims = Claims {
        tenant: "default".into(),
        device: "pump-1".into(),
        aud: "twinfold".into(),
        exp: 4_000_000_000,
        slot: 3,
    };
    let signed = claims.sign(&Key::parse(&device).expect("it is a key"));
    search.plant("the signature of a device's token", signed.split_once('.').expect("it has one").1);
    assert_eq!(report(http, &format!("Bearer {signed}")), 204);

    let group = json!({"name": "line-4", "generate_key": true, "registers": true, "reason": OPEN});
    assert_eq!(admin.post("/enrolment-groups", &group).unwrap().0, 201);
    let derived = admin.post("/enrolment-groups/line-4/keys", &json!({"device_id": "meter-9"}));
    let derived = handed(derived, "key");
    search.plant("a key that a group derives", &derived);
    assert_eq!(report(http, &format!("Basic {}", BASE64_STANDARD.encode(format!("meter-9:{derived}")))), 204);

    let (status, _) = admin.put("/users/olga", &json!({"roles": ["viewer"], "reason": OPEN})).unwrap();
    assert_eq!(status, 201);
    let viewer = handed(admin.post("/tokens", &json!({"owner": "olga"})), "token");
    search.plant("the token of somebody else", &viewer["twf_0123456789abcdef_".len()..]);
    let carl = handed(admin.post("/tenants", &json!({"name": "acme", "admin": "carl"})), "token");
    search.plant("the token of another tenant's admin", &carl["twf_0123456789abcdef_".len()..]);
    Keys { device, signed, viewer }
}

/// Everything that goes wrong while somebody holds a secret.
fn ask_in_wrong_ways(search: &mut Search, node: &Served, keys: &Keys) {
    let (mqtt, http) = node.plain();
    let json_type = ("Content-Type", "application/json");
    let signed = &keys.signed;
    let last = if signed.ends_with('A') { 'E' } else { 'A' };
    let other = format!("{}{last}", &signed[..signed.len() - 1]);
    let basic = |id: &str, key: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{key}")));
    for shown in [
        format!("Bearer {WRONG}"),
        format!("Bearer twf_0123456789abcdef_{WRONG}"),
        format!("Bearer {other}"),
        format!("Digest {WRONG}"),
        format!("Basic {WRONG}"),
        basic("pump-1", WRONG),
        basic("pump-3", &keys.device),
        basic(&keys.device, "pump-1"),
    ] {
        for (method, path) in [("GET", "/v1/devices"), ("PATCH", "/v1/twins/me/reported")] {
            let asked = request(method, path, &[("Authorization", &shown), json_type], b"{}");
            let answer = exchange(http, &asked).expect("the node answers");
            assert!((400..500).contains(&answer.status), "{answer:?}");
            search.see("an error", format!("{}{}", answer.head, answer.body));
        }
    }
    let admin = format!("Bearer {}", node.token);
    for (path, body) in [
        ("/v1/provision/activate", json!({"device_id": "pump-1", "activation_key": WRONG, "nonce": NONCE})),
        ("/v1/provision/activate", json!({"device_id": CHOSEN, "activation_key": "pump-2", "nonce": NONCE})),
        (
            "/v1/provision/activate",
            json!({"device_id": "pump-2", "activation_key": CHOSEN, "nonce": "another-nonce-01"}),
        ),
        (
            "/v1/provision/activate",
            json!({"device_id": "pump-2", "activation_key": [CHOSEN], "nonce": NONCE}),
        ),
        (
            "/v1/provision/activate",
            json!({"device_id": "pump-2", "activation_key": {CHOSEN: 1}, "nonce": NONCE}),
        ),
        ("/v1/provision/activate", json!({"device_id": "pump-2", "activation_key": DIGITS, "nonce": NONCE})),
        ("/v1/devices/pump-2/invite", json!({"activation_key": DIGITS})),
        ("/v1/devices/pump-2/invite", json!({"activation_key": {"generate": CHOSEN}})),
        ("/v1/devices/pump-2/invite", json!({"activation_key": [CHOSEN]})),
    ] {
        let headers = [("Authorization", &*admin), json_type];
        let answer = exchange(http, &request("POST", path, &headers, body.to_string().as_bytes()));
        let answer = answer.expect("the node answers");
        assert!((400..500).contains(&answer.status), "{path} {body}: {answer:?}");
        search.see("an error", format!("{}{}", answer.head, answer.body));
    }
    // A real one where proxies would note it; from then on it is known to be exposed.
    let url = format!("/v1/devices?token={}", keys.viewer);
    let answer = exchange(http, &request("GET", &url, &[], b"")).expect("the node answers");
    assert_eq!(answer.problem(), (400, "token-in-url"));
    search.see("an error", format!("{}{}", answer.head, answer.body));
    for (id, shown) in [("pump-1", WRONG), ("pump-3", &keys.device), (&keys.device, WRONG)] {
        assert!(connack(mqtt, id, shown).reason() != 0, "{id}");
    }
    let mut wire = Wire::open(mqtt, false);
    wire.send(&Connect { password: Some(&keys.device), ..Connect::of(false, "pump-1") }.bytes()).next();
    wire.subscribe(&[("twins/me/errors", 1), ("twins/me/credentials/+/+/reply", 1)]);
    for body in [
        json!({"nonce": NONCE, "activation_key": WRONG}),
        json!({"nonce": NONCE, "activation_key": DIGITS}),
        json!({"nonce": NONCE, "activation_key": {"is": WRONG}}),
        json!([WRONG]),
    ] {
        wire.publish("twins/me/credentials/activate/r1", body.to_string().as_bytes(), Some(3));
        let said = [wire.next(), wire.next()].map(|packet| packet.expect("it stays connected").body);
        search.see("an error by MQTT", said.concat());
    }
    let url = format!("http://{http}");
    for words in [
        &["user", "list", "--token", WRONG][..],
        &["device", "get", "pump-9", "--token", &keys.viewer],
        &["device", "get", "pump-9", "--token", &keys.viewer, "--print-config"],
    ] {
        let ran = twinfold(&[words, &["--url", &url]].concat());
        search.see("what the command line says", [ran.stdout, ran.stderr].concat());
    }
    let master = std::fs::read_to_string(node.folder().join("master.key")).unwrap();
    let mut printing = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    printing.args(words(node.data.path())).arg("--print-config");
    printing.envs([("TWINFOLD_MASTER_KEY", master.trim()), ("TWINFOLD_TOKEN", &*node.token)]);
    let printed = printing.output().expect("it runs");
    assert!(printed.status.success(), "{printed:?}");
    search.see("the configuration", [printed.stdout, printed.stderr].concat());
}

/// All that an admin can read.
fn look_around(search: &mut Search, node: &Served) {
    for path in [
        "/v1/devices",
        "/v1/devices/pump-1",
        "/v1/devices/pump-2",
        "/v1/twins/pump-1",
        "/v1/twins/pump-2",
        "/v1/twins/pump-1/events",
        "/v1/events?limit=1000",
        "/v1/users",
        "/v1/tokens",
        "/v1/policies",
        "/v1/tenants",
        "/v1/audit?limit=1000",
        "/v1/audit/head",
        "/metrics",
        "/readyz",
        "/openapi.json",
    ] {
        let answer = node.get(path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        search.see(path.split('?').next().expect("a path"), answer);
    }
    let file = node.data.path().join("backup.tar");
    let (url, ca) = (format!("http://{}", node.plain().1), file.to_str().unwrap());
    let made = twinfold(&["backup", ca, "--url", &url, "--token", &node.token]);
    assert!(made.status.success(), "{made:?}");
    search.see("a backup", std::fs::read(&file).unwrap());
    std::fs::remove_file(&file).unwrap();
}

/// Applies for a key on the management lane; the key.
fn applied(wire: &mut Wire, verb: &str, body: &Value) -> String {
    wire.subscribe(&[("twins/me/credentials/+/+/reply", 1)]);
    wire.publish(&format!("twins/me/credentials/{verb}/r1"), body.to_string().as_bytes(), Some(7));
    let packets = [wire.next(), wire.next()].map(|packet| packet.expect("it stays connected"));
    let reply = packets.iter().find(|packet| packet.kind == PUBLISH).expect("a reply").message();
    reply["payload"]["key"].as_str().unwrap_or_else(|| panic!("no key: {reply}")).to_owned()
}

/// How a device is let in, or not, with this password.
fn connack(mqtt: std::net::SocketAddr, id: &str, password: &str) -> Packet {
    let connect = Connect { password: Some(password), ..Connect::of(false, id) };
    let answer = Wire::open(mqtt, false).send(&connect.bytes()).next().expect("an answer");
    assert_eq!(answer.kind, CONNACK);
    answer
}

/// Reports by HTTP: the status.
fn report(http: std::net::SocketAddr, authorization: &str) -> u16 {
    let headers = [("Authorization", authorization), ("Content-Type", "application/json")];
    let asked = request("PATCH", "/v1/twins/me/reported", &headers, br#"{"on":true}"#);
    exchange(http, &asked).expect("the node answers").status
}
