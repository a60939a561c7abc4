//! The same by certificates: one is given when the device activates itself, renewed by its connection, given to a device
//! that came by its key, and revoked. After each step the node is killed, and whoever has ever had one tries to come in.

use serde_json::{Value, json};

use super::support::cards::{Card, Client, V5, done, request};
use super::support::served::Served;
use super::support::wire::{CONNACK, Connect};

/// A node that can be killed, and all certificates that were ever given out, with whose they are.
struct Field {
    node: Option<Served>,
    cards: Vec<(String, Card)>,
}

impl Field {
    fn new() -> Self {
        let node = Served::start();
        done(&node, &["cert", "ca", "create", "devices"]);
        Self { node: Some(node), cards: Vec::new() }
    }

    fn node(&self) -> &Served {
        self.node.as_ref().expect("it runs")
    }

    /// SIGKILL, and the same node again.
    fn kill(&mut self) {
        let node = self.node.take().expect("it runs");
        self.node = Some(node.kill_and_begin(&[], &[], |_| ()));
    }

    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        done(self.node(), words)
    }

    /// Registers a device; its activation key.
    fn registered(&self, id: &str) -> String {
        let shown = self.done(&["device", "add", id, "--generate", "--json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["activation_key"].as_str().unwrap().to_owned()
    }

    fn activate(&self, body: &Value) -> Value {
        let nobody = Client::new(self.node(), None);
        let (status, given) = nobody.call(self.node(), "POST /v1/provision/activate", &body.to_string());
        assert_eq!(status, 200, "{given}");
        given
    }

    fn keep(&mut self, id: &str, given: &Value, key: String) -> Card {
        let chain = given["certificate"].as_str().unwrap_or_else(|| panic!("no certificate: {given}"));
        let card = Card { chain: chain.to_owned(), key };
        self.cards.push((id.to_owned(), card.clone()));
        card
    }

    /// What a connection that came by this is given on the management lane.
    fn renew(&self, card: &Card, csr: &str) -> Value {
        let client = Client::new(self.node(), Some(card));
        let renewed = client.connected(self.node(), "").apply("renew", &json!({"csr": csr, "grace_s": 3600}));
        assert_eq!(renewed["status"], 200, "{renewed}");
        renewed["payload"].clone()
    }

    fn holds(&self, card: &Card) -> bool {
        let client = Client::new(self.node(), Some(card));
        let (status, told) = client.call(self.node(), "GET /v1/twins/me/desired", "");
        assert!([200, 204, 401].contains(&status), "{status}: {told}");
        let is_told = told["patch"]["speed"] == 5;
        let connects = client.reason(self.node(), "") == Some(0);
        assert_eq!(connects, status != 401, "by MQTT as by HTTP");
        is_told
    }

    /// Kills the node. Then these certificates are good for the place, of all that there ever were, and no others.
    #[track_caller]
    fn is_of(&mut self, holders: &[&Card]) {
        self.kill();
        let of = |card: &Card| card.chain.clone();
        let found: Vec<_> =
            self.cards.iter().map(|(_, card)| card).filter(|card| self.holds(card)).map(of).collect();
        assert_eq!(found, holders.iter().map(|card| of(card)).collect::<Vec<_>>());
    }
}

#[test]
fn whoever_holds_a_certificate_holds_it_after_each_kill_until_it_is_revoked() {
    let mut field = Field::new();

    // It activates itself by a request for a certificate; an answer that is lost with the node is given again.
    let activation = field.registered("pump-1");
    field.kill();
    let (key, csr) = request();
    let asked = json!({"device_id": "pump-1", "activation_key": activation, "csr": csr});
    let given = field.activate(&asked);
    field.kill();
    assert_eq!(field.activate(&asked), given);
    let first = field.keep("pump-1", &given, key);
    field.done(&["twin", "set", "pump-1", "--desired", "speed=5"]);
    field.is_of(&[&first]);

    // It is renewed by the connection that it has. Both are good until the grace ends.
    let (key, csr) = request();
    let renewed = field.renew(&first, &csr);
    field.kill();
    assert_eq!(field.renew(&first, &csr), renewed, "a lost answer is given again");
    let second = field.keep("pump-1", &renewed, key);
    field.is_of(&[&first, &second]);

    // The node is killed before it says whether it has renewed it. What the device has is good, and gets it the next.
    let ((key, csr), client) = (request(), Client::new(field.node(), Some(&second)));
    let mut online = client.connected(field.node(), "");
    online.publish("twins/me/credentials/renew/r2", json!({"csr": csr}).to_string().as_bytes(), Some(1));
    field.kill();
    assert!(field.holds(&second));
    let renewed = field.renew(&second, &csr);
    let third = field.keep("pump-1", &renewed, key);
    field.is_of(&[&second, &third]);

    // Another device came by its key, gets a certificate by its own connection, and takes the place.
    let activation = field.registered("pump-2");
    let asked = json!({"device_id": "pump-2", "activation_key": activation, "nonce": "7f1f0c5e9a0b4d3c"});
    let given = field.activate(&asked)["key"].as_str().unwrap().to_owned();
    let by_key = Connect { password: Some(&given), ..Connect::of(V5, "pump-2") };
    let (own, csr) = request();
    let issue = |field: &Field| {
        let nobody = Client::new(field.node(), None);
        let (mut online, answer) = nobody.connect_as(field.node(), &by_key).expect("the node answers");
        assert_eq!((answer.kind, answer.reason()), (CONNACK, 0));
        online.apply("renew", &json!({"csr": csr}))["payload"].clone()
    };
    let issued = issue(&field);
    field.kill();
    assert_eq!(issue(&field), issued, "a lost answer is given again");
    let other = field.keep("pump-2", &issued, own.clone());
    field.is_of(&[&second, &third]);
    field.done(&["device", "replace", "pump-1", "--by", "pump-2", "--reason", "burnt out"]);
    field.is_of(&[&other]);

    // Both that it has are revoked at once, and end what came by them. Its key is another matter.
    let (key, csr) = request();
    let renewed = field.renew(&other, &csr);
    let last = field.keep("pump-2", &renewed, key);
    field.is_of(&[&other, &last]);
    let live = [("one", &other), ("two", &last)].map(|(client, card)| {
        let connect = Connect { username: "pump-2", ..Connect::of(V5, client) };
        let online = Client::new(field.node(), Some(card)).connect_as(field.node(), &connect);
        online.expect("the handshake is done").0
    });
    field.done(&["cert", "revoke", "pump-2", "--reason", "stolen"]);
    for mut online in live {
        assert_eq!(online.next(), None, "it has ended");
    }
    field.is_of(&[]);

    // Its key is another matter: it gets a certificate for it again, until all is revoked.
    let given = issue(&field);
    let anew = field.keep("pump-2", &given, own);
    field.is_of(&[&anew]);
    field.done(&["device", "revoke", "pump-2", "--reason", "its key was in a log"]);
    field.is_of(&[]);
}
