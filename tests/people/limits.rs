//! How much a tenant may take, and who is refused when it is taken.

use rumqttc::ConnectReturnCode;
use runtime::directory::Role;
use serde_json::{Value, json};
use twins::id::TwinId;

use crate::devices::basic;
use crate::world::{Person, World};
use crate::{Stream, done, refused};

/// Limits a tenant.
fn limit(root: &Person, tenant: &str, limits: &Value) {
    let shown = done(root.patch(&format!("/tenants/{tenant}"), json!({"limits": limits, "reason": "plan"})));
    for (name, limit) in limits.as_object().unwrap() {
        assert_eq!(shown["limits"].get(name).unwrap_or(&Value::Null), limit, "{shown}");
    }
}

#[test]
fn a_tenant_registers_as_many_devices_as_it_may_and_no_more_however_many_ask_at_once() {
    let (mut world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    limit(&root, "acme", &json!({"devices": 5}));

    let statuses: Vec<_> = std::thread::scope(|threads| {
        let put = |n: usize| boss.put(&format!("/devices/pump-{n}"), json!({})).0;
        let all: Vec<_> = (0..40).map(|n| threads.spawn(move || put(n))).collect();
        all.into_iter().map(|call| call.join().unwrap()).collect()
    });

    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5, "{statuses:?}");
    let devices = done(boss.get("/devices"))["items"].clone();
    let ids: Vec<_> = devices.as_array().unwrap().iter().map(|device| device["id"].clone()).collect();
    assert_eq!(ids.len(), 5);
    refused(boss.put("/devices/one-more", json!({})), 429, "too-many");
    // Those that are there change, and another tenant has its own room.
    let first = format!("/devices/{}", ids[0].as_str().unwrap());
    done(boss.put(&first, json!({"tags": {"hall": 2}})));
    done(root.put("/devices/pump-1", json!({})));

    world.crash();
    let (root, boss) = (world.person(&root.token), world.person(&boss.token));
    refused(boss.put("/devices/one-more", json!({})), 429, "too-many");
    done(boss.delete(&first));
    done(boss.put("/devices/one-more", json!({})));
    refused(boss.put("/devices/two-more", json!({})), 429, "too-many");
    limit(&root, "acme", &json!({"devices": null}));
    done(boss.put("/devices/two-more", json!({})));
}

#[test]
fn a_device_that_was_replaced_takes_no_place_of_its_tenant() {
    let (mut world, root) = World::new();
    for id in ["pump-1", "pump-2"] {
        done(root.put(&format!("/devices/{id}"), json!({})));
        done(root.post(&format!("/devices/{id}/activate"), json!({})));
    }
    limit(&root, "default", &json!({"devices": 2}));
    refused(root.put("/devices/pump-3", json!({})), 429, "too-many");

    done(root.post("/devices/pump-1/replace", json!({"by": "pump-2"})));
    world.crash();
    let root = world.person(&root.token);

    done(root.put("/devices/pump-3", json!({})));
    refused(root.put("/devices/pump-4", json!({})), 429, "too-many");
    done(root.delete("/devices/pump-1"));
    refused(root.put("/devices/pump-4", json!({})), 429, "too-many");
}

#[test]
fn a_tenant_has_as_many_connections_as_it_may_and_others_have_theirs() {
    let (world, root) = World::new();
    world.tenant(&root, "acme");
    limit(&root, "default", &json!({"connections": 1}));
    let keys = ["pump-1", "pump-2"].map(|id| world.equip(id).0.reveal());
    let first = world.online("pump-1", &keys[0]);

    assert_eq!(world.connect("pump-2", &keys[1]), Err(ConnectReturnCode::ServiceUnavailable));

    let theirs = world.invited(&TwinId::parse("acme/pump-1").unwrap());
    assert_eq!(world.connect("acme/pump-1", &theirs), Ok(()));
    drop(first);
    let is_let_in = || (world.connect("pump-2", &keys[1]) == Ok(())).then_some(());
    assert_eq!(crate::eventually(is_let_in), Some(()), "its place is free again");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    let key = world.equip("pump-1").0.reveal();
    limit(&root, "acme", &json!({"messages_per_s": 3}));
    limit(&root, "default", &json!({"device_messages_per_s": 3}));

    done(boss.put("/users/vera", json!({"roles": ["viewer"]})));
    let viewer = done(boss.post("/tokens", json!({"owner": "vera"})))["token"].as_str().unwrap().to_owned();
    let viewer = world.person(&viewer);

    let refusal = |ask: &dyn Fn() -> (u16, Value)| (0..100).map(|_| ask()).find(|(status, _)| *status == 429);
    let (_, problem) = refusal(&|| viewer.get("/devices")).expect("it is refused");
    assert_eq!(problem["code"], json!("too-fast"));
    assert!(
        refusal(&|| boss.get("/devices")).is_none(),
        "who administers the tenant ends floods, and is let through"
    );

    let report = || world.report_raw([127, 0, 0, 1], &basic("pump-1", &key));
    let answer = (0..100).map(|_| report()).find(|answer| answer.starts_with("HTTP/1.1 429"));
    let answer = answer.expect("it is refused");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let problem: Value = serde_json::from_str(body).expect("a problem");
    assert!(head.to_lowercase().contains("retry-after: 1\r\n"), "{head}");
    assert_eq!(problem["code"], json!("too-fast"));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("default/pump-1") && detail.contains("3 messages a second"), "{detail}");
    // Nobody else feels it.
    assert_eq!(root.get("/devices").0, 200);
}

#[test]
fn one_tenant_does_not_take_the_streams_of_all() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    limit(&root, "acme", &json!({"streams": 2}));

    let streams = [Stream::of(&boss, "/events/stream"), Stream::of(&boss, "/events/stream")];
    refused(boss.get("/events/stream"), 429, "too-many");
    let other = world.admit("vera", &[Role::Viewer]);
    let theirs = Stream::of(&other, "/events/stream");

    done(boss.delete(&format!("/tokens/{}", boss.id())));
    done(root.delete(&format!("/tokens/{}", other.id())));
    for stream in streams.into_iter().chain([theirs]) {
        assert!(stream.end().contains("event: closed"));
    }
}

#[test]
fn who_may_not_operate_the_node_limits_nobody() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    let limits = json!({"limits": {"devices": 1_000_000}});

    refused(boss.patch("/tenants/acme", limits.clone()), 403, "forbidden");
    refused(root.patch("/tenants/nobody", limits), 404, "unknown");
    refused(root.patch("/tenants/acme", json!({})), 422, "unfit");
    refused(root.patch("/tenants/acme", json!({"disabled": false, "limits": {}})), 422, "unfit");
    for wrong in [json!({"devices": 0}), json!({"devices": -1}), json!({"doors": 1})] {
        refused(root.patch("/tenants/acme", json!({"limits": wrong})), 422, "malformed");
    }
}
