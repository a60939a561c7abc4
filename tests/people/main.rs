//! People, programs and devices, and the intruders among them: each claim fails without its defence.

mod certificates;
mod challenge;
mod devices;
mod generations;
mod limits;
mod parts;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test crate uses a part of it")]
mod support;
mod world;

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use gateway::audit::read;
use gateway::head::SignedHead;
use runtime::directory::Role;
use runtime::directory::audit::Chain;
use serde_json::{Value, json};

use support::node::eventually;
use world::{Person, World};

/// A call was refused with this status and code.
#[track_caller]
fn refused((status, body): (u16, Value), expected: u16, code: &str) {
    assert_eq!((status, body["code"].as_str()), (expected, Some(code)), "{body}");
    assert!(body["next"].as_str().is_some_and(|next| !next.is_empty()), "{body}");
}

#[track_caller]
fn done((status, body): (u16, Value)) -> Value {
    assert!((200..300).contains(&status), "{status} {body}");
    body
}

#[test]
fn nobody_is_let_in_without_a_token_that_is_known() {
    let (world, root) = World::new();
    let unknown = gateway::trust::token::Text::new().unwrap().reveal();
    // The number of a real one, and another secret.
    let forged = format!("{}{}", &root.token[..21], &unknown[21..]);

    for token in ["", "secret", &unknown, &forged, &root.token[..63]] {
        refused(world.person(token).get("/devices"), 401, "not-authenticated");
    }
    assert_eq!(root.get("/devices").0, 200);
}

#[test]
fn a_viewer_who_writes_is_refused_and_leaves_no_trace() {
    let (world, root) = World::new();
    let viewer = world.admit("vera", &[Role::Viewer]);
    done(root.put("/devices/pump-1", json!({"tags": {"hall": 2}})));
    let (before, head) = (done(viewer.get("/twins/pump-1")), world.definitions().current().chain);

    for attempt in [
        viewer.patch("/twins/pump-1", json!({"desired": {"open": true}})),
        viewer.patch("/twins/pump-1", json!({"tags": {"hall": null}})),
        viewer.put("/twins/pump-1/desired", json!({})),
        viewer.post("/twins/pump-1/commands", json!({"name": "open"})),
        viewer.post("/twins/pump-1/requests/ping", json!({})),
        viewer.post("/twins/pump-1/methods/reset", json!({})),
        viewer.put("/devices/pump-1", json!({"tags": {}})),
        viewer.put("/devices/pump-2", json!({})),
        viewer.delete("/devices/pump-1"),
        viewer.put("/users/vera", json!({"roles": ["admin"]})),
        viewer.delete("/users/root"),
        viewer.get("/users"),
        viewer.put("/policies/mine", json!({"effect": "allow", "who": ["vera"], "verbs": ["write"]})),
        viewer.post("/tokens", json!({"owner": "root"})),
        viewer.post("/access/explain", json!({"who": "root", "verb": "write", "device": "pump-1"})),
        viewer.get("/audit"),
        viewer.post("/tenants", json!({"name": "mine", "admin": "vera"})),
        viewer.post("/backup", json!({})),
    ] {
        refused(attempt, 403, "forbidden");
    }
    // To whom they are not shown, the tokens of others are not there.
    refused(viewer.delete(&format!("/tokens/{}", root.id())), 404, "unknown");

    assert_eq!(done(viewer.get("/twins/pump-1")), before);
    assert_eq!(world.definitions().current().chain, head);
    assert_eq!(done(viewer.get("/tokens"))["items"].as_array().unwrap().len(), 1);
}

#[test]
fn another_tenants_device_is_as_if_it_were_not() {
    let (world, root) = World::new();
    let (acme, other) = (world.tenant(&root, "acme"), world.tenant(&root, "other"));
    done(acme.put("/devices/pump-1", json!({"tags": {"of": "acme"}})));
    done(acme.patch("/twins/pump-1", json!({"desired": {"open": true}})));
    let end = |text: &str| text.replace("pump-1", "ID").replace("pump-9", "ID");

    for intruder in [&other, &root] {
        for path in
            ["/devices/ID", "/twins/ID", "/twins/ID/commands", "/twins/ID/telemetry", "/twins/ID/events"]
        {
            let [foreign, unknown] = ["pump-1", "pump-9"].map(|id| intruder.get(&path.replace("ID", id)));
            assert_eq!(foreign.0, 404, "{path}");
            assert_eq!(end(&foreign.1.to_string()), end(&unknown.1.to_string()), "{path}");
        }
        refused(intruder.patch("/twins/pump-1", json!({"desired": {}})), 404, "unknown-twin");
        refused(intruder.delete("/devices/pump-1"), 404, "unknown-twin");
        refused(intruder.get("/events/stream?twin=pump-1"), 404, "unknown-twin");
        assert_eq!(done(intruder.get("/devices"))["items"], json!([]));
        assert_eq!(done(intruder.get("/events?from=earliest"))["items"], json!([]));
    }
    // What they follow is their own alone.
    let stream = Stream::of(&other, "/events/stream?from=earliest");
    done(other.put("/devices/fan-1", json!({})));
    assert!(stream.says("fan-1"));
    done(other.delete(&format!("/tokens/{}", other.id())));
    assert!(!stream.end().contains("pump-1"));
    assert_eq!(done(acme.get("/devices"))["items"][0]["tags"], json!({"of": "acme"}));
}

/// A stream of events that is followed to its end.
struct Stream {
    heard: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn of(who: &Person, path: &str) -> Self {
        let mut stream = who.api.open(path).expect("the node answers");
        let heard = Arc::new(Mutex::new(String::new()));
        let hears = heard.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4_096];
            loop {
                let length = stream.read(&mut piece).expect("the stream ends as one should");
                if length == 0 {
                    return;
                }
                hears.lock().unwrap().push_str(std::str::from_utf8(&piece[..length]).unwrap());
            }
        });
        Self { heard, reader }
    }

    /// Waits until it said this.
    fn says(&self, text: &str) -> bool {
        eventually(|| self.heard.lock().unwrap().contains(text).then_some(())).is_some()
    }

    /// All that it said, once it has ended.
    fn end(self) -> String {
        self.reader.join().unwrap();
        self.heard.lock().unwrap().clone()
    }
}

#[test]
fn a_token_that_is_removed_ends_what_it_let_in() {
    let (world, root) = World::new();
    let viewer = world.admit("vera", &[Role::Viewer]);
    let stream = Stream::of(&viewer, "/events/stream");

    done(root.delete(&format!("/tokens/{}?reason=lost", viewer.id())));

    let heard = stream.end();
    assert!(heard.contains("event: closed") && heard.contains("there is no such token"), "{heard}");
    refused(viewer.get("/devices"), 401, "not-authenticated");
}

#[test]
fn who_is_shut_out_is_so_at_once_and_so_is_a_whole_tenant() {
    let (world, root) = World::new();
    let (viewer, boss) = (world.admit("vera", &[Role::Viewer]), world.tenant(&root, "acme"));
    let streams = [&viewer, &boss].map(|who| Stream::of(who, "/events/stream"));

    done(root.put("/users/vera", json!({"roles": ["viewer"], "disabled": true})));
    done(root.patch("/tenants/acme", json!({"disabled": true})));

    for stream in streams {
        assert!(stream.end().contains("is disabled"));
    }
    for who in [&viewer, &boss] {
        refused(who.get("/devices"), 401, "not-authenticated");
    }
    done(root.patch("/tenants/acme", json!({"disabled": false})));
    assert_eq!(boss.get("/devices").0, 200);
}

#[test]
fn a_token_that_expired_lets_nobody_in() {
    let (world, root) = World::new();
    let made = done(root.post("/tokens", json!({"ttl_s": 60})));
    let short = world.person(made["token"].as_str().unwrap());
    assert_eq!(short.get("/devices").0, 200);

    world.clock.ahead(Duration::from_secs(61));

    refused(short.get("/devices"), 401, "not-authenticated");
    assert_eq!(root.get("/devices").0, 200);
}

#[test]
fn a_token_goes_no_further_than_its_scope_and_makes_none_that_does() {
    let (world, root) = World::new();
    done(root.put("/devices/pump-1", json!({})));
    let made = done(root.post("/tokens", json!({"roles": ["viewer"], "ttl_s": 600})));
    let narrow = world.person(made["token"].as_str().unwrap());

    assert_eq!(narrow.get("/twins/pump-1").0, 200);
    refused(narrow.patch("/twins/pump-1", json!({"desired": {"a": 1}})), 403, "forbidden");
    refused(narrow.post("/tokens", json!({"roles": ["admin"]})), 403, "forbidden");
    refused(narrow.post("/tokens", json!({"owner": "root", "roles": ["operator"]})), 403, "forbidden");

    // One that it makes of itself ends with it, and goes as far.
    let again = done(narrow.post("/tokens", json!({"ttl_s": 86_400})));
    assert_eq!((&again["roles"], &again["expires"]), (&json!(["viewer"]), &made["expires"]));
}

#[test]
fn a_token_in_a_url_is_refused_and_known_to_be_exposed() {
    let (world, root) = World::new();
    let paths = [format!("/devices?token={}", root.token), format!("/devices/{}", root.token)];
    let nobody = world.person("");

    for path in &paths {
        for who in [&root, &nobody] {
            let (status, body) = who.get(path);
            assert!(!body.to_string().contains(&root.token[21..]), "{body}");
            refused((status, body), 400, "token-in-url");
        }
    }

    let exposed = eventually(|| {
        let tokens = done(root.get("/tokens"));
        tokens["items"][0]["exposed"].as_str().map(str::to_owned)
    });
    assert!(exposed.is_some());
    let lines = done(root.get("/audit"));
    let found = lines["items"].as_array().unwrap().iter().filter(|line| line["action"] == "token-exposed");
    assert_eq!(found.count(), 1, "it is noted once: {lines}");
}

#[test]
fn what_a_policy_denies_nobody_does_whatever_allows_it() {
    let (world, root) = World::new();
    let operator = world.admit("olga", &[Role::Operator]);
    done(root.put("/devices/pump-1", json!({"tags": {"owner": "acme"}})));
    done(root.patch("/twins/pump-1", json!({"desired": {"heat": {"limit": 80, "set": 20}}})));
    for (name, rule) in [
        ("limit", json!({"effect": "deny", "who": ["*"], "path": "desired/heat/limit", "verbs": ["write"]})),
        (
            "open",
            json!({"effect": "deny", "who": ["olga"], "devices": "pump-*", "path": "commands/open", "verbs": ["control"]}),
        ),
        ("all", json!({"effect": "allow", "who": ["*"], "verbs": ["read", "write", "control"]})),
        (
            "owner",
            json!({"effect": "deny", "who": ["role:operator"], "path": "tags/owner", "verbs": ["read"]}),
        ),
    ] {
        done(root.put(&format!("/policies/{name}"), rule));
    }

    for who in [&operator, &root] {
        for patch in [
            json!({"heat": {"limit": 99}}),
            json!({"heat": {"set": 21, "limit": null}}),
            // By what is above it.
            json!({"heat": null}),
            json!({"heat": 5}),
        ] {
            refused(who.patch("/twins/pump-1", json!({"desired": patch})), 403, "forbidden");
        }
        refused(who.put("/twins/pump-1/desired", json!({})), 403, "forbidden");
    }
    let shown = done(operator.patch("/twins/pump-1", json!({"desired": {"heat": {"set": 21}}})));
    assert_eq!(shown["desired"]["heat"], json!({"limit": 80, "set": 21}));
    assert_eq!((&shown["tags"], &shown["metadata"]["tags"]), (&json!({}), &json!({})));
    assert_eq!(done(operator.get("/devices/pump-1"))["tags"], json!({}));
    assert_eq!(done(operator.get("/devices"))["items"][0]["tags"], json!({}));
    let events = done(operator.get("/twins/pump-1/events?type=tags"));
    assert!(!events.to_string().contains("acme"), "{events}");

    refused(operator.post("/twins/pump-1/commands", json!({"name": "open"})), 403, "forbidden");
    done(operator.post("/twins/pump-1/commands", json!({"name": "close"})));
    let sent = done(root.post("/twins/pump-1/commands", json!({"name": "open"})));
    let open = format!("/twins/pump-1/commands/{}", sent["id"].as_str().unwrap());
    refused(operator.delete(&open), 403, "forbidden");

    let question = json!({"verb": "control", "device": "pump-7", "path": "commands/open"});
    let verdict = done(operator.post("/access/explain", question));
    assert_eq!(verdict["allowed"], json!(false));
    assert_eq!(verdict["because"][0]["name"], json!("open"));
}

#[test]
fn whoever_has_no_role_sees_what_a_policy_allows_and_nothing_else() {
    let (world, root) = World::new();
    let meter = world.admit("meter", &[]);
    for id in ["pump-1", "fan-1"] {
        done(root.put(&format!("/devices/{id}"), json!({"tags": {"secret": id}})));
    }
    refused(meter.get("/twins/pump-1"), 403, "forbidden");
    let rule = json!({"effect": "allow", "who": ["meter"], "devices": "pump-*", "path": "desired/heat", "verbs": ["read"]});
    done(root.put("/policies/heat", rule));
    done(root.patch("/twins/pump-1", json!({"desired": {"heat": 1, "light": 2}, "tags": {"x": 1}})));

    let shown = done(meter.get("/twins/pump-1"));

    assert_eq!(shown["desired"]["heat"], json!(1));
    assert!(!shown.to_string().contains("light") && !shown.to_string().contains("secret"), "{shown}");
    refused(meter.get("/twins/fan-1"), 403, "forbidden");
    assert_eq!(done(meter.get("/devices"))["items"].as_array().unwrap().len(), 1);
    let events = done(meter.get("/events?from=earliest")).to_string();
    assert!(events.contains("heat") && !events.contains("light") && !events.contains("secret"), "{events}");
}

#[test]
fn what_was_answered_survives_the_power_and_what_was_removed_does_not_come_back() {
    let (mut world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    let removed = world.admit("vera", &[Role::Viewer]);
    done(root.delete(&format!("/tokens/{}", removed.id())));
    done(root.put("/policies/night", json!({"effect": "deny", "who": ["*"], "verbs": ["control"]})));
    let before = world.definitions().current();

    world.crash();

    assert_eq!(world.definitions().current(), before);
    let [root, boss, removed] = [root, boss, removed].map(|who| world.person(&who.token));
    assert_eq!((root.get("/policies/night").0, boss.get("/devices").0), (200, 200));
    refused(removed.get("/devices"), 401, "not-authenticated");
}

#[test]
fn the_figures_of_the_node_are_for_those_who_read_in_its_own_tenant() {
    let (world, root) = World::new();
    let (viewer, boss) = (world.admit("vera", &[Role::Viewer]), world.tenant(&root, "acme"));
    let nobody = world.person("");

    let figures = [&root, &viewer, &boss, &nobody].map(|who| who.api.beside("/metrics"));

    assert_eq!(figures, [Some(200), Some(200), Some(403), Some(401)]);
    assert_eq!(nobody.api.beside("/healthz"), Some(200));
}

#[test]
fn of_two_changes_made_for_one_version_one_is_made() {
    let (world, root) = World::new();
    let version = world.definitions().current().version;
    let put = |tag: u64| {
        let body = json!({"roles": ["viewer"]});
        root.api.put_if("/users/vera", &format!("\"{tag}\""), &body).expect("the node answers")
    };

    done(put(version));

    refused(put(version), 412, "version-mismatch");
    done(put(version + 1));
}

#[test]
fn a_tenant_is_removed_only_when_nothing_is_left_of_it() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    done(boss.put("/devices/pump-1", json!({})));

    refused(root.delete("/tenants/acme"), 409, "contradiction");
    done(root.patch("/tenants/acme", json!({"disabled": true})));
    refused(root.delete("/tenants/acme"), 409, "contradiction");
    done(root.patch("/tenants/acme", json!({"disabled": false})));
    done(boss.delete("/devices/pump-1"));
    done(root.patch("/tenants/acme", json!({"disabled": true})));
    done(root.delete("/tenants/acme"));

    refused(boss.get("/devices"), 401, "not-authenticated");
    refused(root.delete("/tenants/default"), 409, "contradiction");
    // Its history is kept under its name, and is nobody else's.
    refused(root.post("/tenants", json!({"name": "acme", "admin": "other"})), 409, "contradiction");
}

#[test]
fn everybody_who_may_read_the_audit_can_check_all_of_it() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    done(root.put("/users/secret-name", json!({"roles": ["viewer"], "reason": "new here"})));
    done(boss.put("/users/carl", json!({"roles": ["operator"]})));

    for who in [&root, &boss] {
        let head: SignedHead = serde_json::from_value(done(who.get("/audit/head"))).unwrap();
        let lines = done(who.get("/audit"))["items"].as_array().unwrap().clone();
        let mut chain = Chain::NEW;
        for line in &lines {
            read(&line.to_string()).unwrap().follow(&mut chain).unwrap();
        }
        assert_eq!(head.check(), Ok(chain));
    }
    let lines = done(root.get("/audit"));
    let added = lines["items"].as_array().unwrap().iter().find(|line| line["subject"] == "secret-name");
    assert_eq!(
        added.map(|line| (&line["by"], &line["reason"])),
        Some((&json!("default/root"), &json!("new here")))
    );
    let foreign = done(boss.get("/audit")).to_string();
    assert!(foreign.contains("carl") && !foreign.contains("secret-name"), "{foreign}");
    // No secret of a token, and not what is kept of it either.
    let digest = gateway::trust::token::Text::parse(&root.token).unwrap().digest().to_string();
    for text in [lines.to_string(), done(root.get("/tokens")).to_string()] {
        assert!(!text.contains(&root.token[21..]) && !text.contains(&digest), "{text}");
    }
}

#[test]
fn a_list_of_definitions_goes_on_where_it_ended() {
    let (world, root) = World::new();
    for n in 0..5 {
        world.admit(&format!("user-{n}"), &[]);
        done(root.put(&format!("/services/s-{n}"), json!({"roles": []})));
    }

    for (path, cursor, count) in [("/users", "after", 6), ("/services", "after", 5), ("/tokens", "after", 6)]
    {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let page = done(root.get(&format!("{path}?limit=2{next}")));
            items.extend(page["items"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(after) => next = format!("&{cursor}={after}"),
                None => break,
            }
        }
        assert_eq!(items.len(), count, "{path}");
    }
    let page = done(root.get("/audit?limit=3"));
    assert_eq!((page["items"][2]["n"].as_u64(), page["next"].as_str()), (Some(3), Some("3")));
    assert_eq!(done(root.get("/audit?after=3&limit=3"))["items"][0]["n"], json!(4));
}

#[test]
fn a_change_under_an_idempotency_key_is_refused_since_a_token_is_not_kept() {
    let (world, root) = World::new();
    let before = world.definitions().current().version;

    let refusal = root.api.post_once("/tokens", "k", &json!({})).expect("the node answers");

    refused(refusal, 400, "idempotency-unsupported");
    assert_eq!(world.definitions().current().version, before);
}
