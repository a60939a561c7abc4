//! What somebody may do to a part of something, and not to the rest of it.

use std::time::Duration;

use runtime::directory::Role;
use serde_json::json;

use crate::world::World;
use crate::{done, refused};

#[test]
fn who_may_write_below_a_path_does_not_replace_what_stands_there() {
    let (world, root) = World::new();
    let writer = world.admit("writer", &[]);
    done(root.put("/devices/pump-1", json!({})));
    let rule =
        json!({"effect": "allow", "who": ["writer"], "path": "desired/heat/set", "verbs": ["read", "write"]});
    done(root.put("/policies/set", rule));
    let set = |value: i32| writer.patch("/twins/pump-1", json!({"desired": {"heat": {"set": value}}}));

    for in_the_way in [json!(5), json!([1, 2]), json!("off")] {
        done(root.patch("/twins/pump-1", json!({"desired": {"heat": in_the_way}})));
        refused(set(20), 403, "forbidden");
        assert_eq!(done(root.get("/twins/pump-1"))["desired"]["heat"], in_the_way);
    }
    done(root.patch("/twins/pump-1", json!({"desired": {"heat": {"limit": 80}}})));
    done(set(20));
    assert_eq!(done(root.get("/twins/pump-1"))["desired"]["heat"], json!({"limit": 80, "set": 20}));
    // Many at once all come through, and one that is made for another version does not.
    std::thread::scope(|threads| {
        let all: Vec<_> = (0..3).map(|n| threads.spawn(move || set(n))).collect();
        all.into_iter().for_each(|change| drop(done(change.join().unwrap())));
    });
}

#[test]
fn an_installer_registers_devices_and_changes_none_that_is_there() {
    let (world, root) = World::new();
    let installer = world.admit("ines", &[Role::Installer]);
    let put = |body| installer.put("/devices/pump-1", body);
    let registered = json!({"tags": {"hall": 2}, "catalogue": {"sku": "P-7"}});

    assert_eq!(put(registered.clone()).0, 201);
    assert_eq!(put(registered.clone()).0, 200, "the same again changes nothing");
    refused(put(json!({"tags": {"hall": 3}})), 403, "forbidden");
    refused(put(json!({"tags": {}})), 403, "forbidden");
    refused(put(json!({"catalogue": {"sku": "P-8"}})), 403, "forbidden");

    let shown = done(root.get("/devices/pump-1"));
    assert_eq!((&shown["tags"], &shown["catalogue"]), (&registered["tags"], &registered["catalogue"]));
    assert_eq!(root.put("/devices/pump-1", json!({"tags": {"hall": 3}})).0, 200);
}

#[test]
fn a_question_about_a_path_that_never_ends_is_not_looked_at() {
    let (_world, root) = World::new();
    let ask =
        |path: &str| root.post("/access/explain", json!({"verb": "write", "device": "pump-1", "path": path}));

    refused(ask(&"a/".repeat(100_000)), 422, "unfit");
    assert_eq!(done(ask("/desired/heat/"))["allowed"], json!(true));
    refused(root.post(&format!("/twins/pump-1/methods/{}", "x".repeat(300)), json!({})), 422, "malformed");
}

#[test]
fn who_operates_the_node_lets_a_tenant_in_again_whose_tokens_have_all_ended() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    done(boss.put("/devices/pump-1", json!({})));
    world.clock.ahead(Duration::from_secs(91 * 24 * 3_600));
    let (root, operator) = (world.admit("root", &[Role::Admin]), world.admit("olga", &[Role::Operator]));
    refused(boss.get("/devices"), 401, "not-authenticated");
    let wanted = json!({"admin": "boss", "reason": "their tokens have ended"});
    refused(operator.post("/tenants/acme/admins", wanted.clone()), 403, "forbidden");
    refused(root.post("/tenants/nobody/admins", wanted.clone()), 404, "unknown");

    let made = done(root.post("/tenants/acme/admins", wanted.clone()));

    let again = world.person(made["token"].as_str().unwrap());
    assert_eq!(done(again.get("/devices"))["items"][0]["id"], json!("pump-1"));
    done(again.put("/users/carl", json!({"roles": ["viewer"]})));
    refused(root.post("/tenants/acme/admins", json!({"admin": "carl"})), 409, "contradiction");
    done(root.post("/tenants/acme/admins", json!({"admin": "somebody-new"})));
    refused(again.post("/tenants/acme/admins", wanted), 403, "forbidden");
}
