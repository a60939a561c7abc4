//! Who may have certificates signed, and who sees which there are.

use gateway::trust::authority::generate;
use runtime::directory::Role;
use serde_json::{Value, json};

use crate::world::World;
use crate::{done, refused};

fn request() -> Value {
    json!({"csr": generate("whoever").unwrap().1})
}

fn devices(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|shown| shown["device_id"].as_str().unwrap()).collect()
}

#[test]
fn authorities_are_the_admins_and_certificates_are_for_who_looks_after_security() {
    let (world, root) = World::new();
    let person = |name, role| world.admit(name, &[role]);
    let (viewer, operator) = (person("vera", Role::Viewer), person("olga", Role::Operator));
    let (installer, security) = (person("ian", Role::Installer), person("sam", Role::Security));
    done(root.post("/authorities", json!({"name": "devices"})));
    done(root.put("/devices/pump-1", json!({})));

    for person in [&viewer, &operator, &installer, &security] {
        refused(person.post("/authorities", json!({"name": "mine"})), 403, "forbidden");
        refused(person.post("/authorities/devices/retire", json!({})), 403, "forbidden");
        refused(person.delete("/authorities/devices"), 403, "forbidden");
        refused(
            person.post("/enrolment-groups", json!({"name": "mine", "generate_key": true})),
            403,
            "forbidden",
        );
    }
    for person in [&viewer, &operator, &installer] {
        refused(person.post("/devices/pump-1/certificates", request()), 403, "forbidden");
    }
    let given = done(security.post("/devices/pump-1/certificates", request()));
    assert!(given["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"), "{given}");
    assert_eq!(devices(&done(viewer.get("/certificates"))), ["pump-1"]);
    assert!(devices(&done(viewer.get("/certificates?expires_within_s=86400"))).is_empty());
    assert_eq!(devices(&done(viewer.get("/certificates?expires_within_s=31536000"))), ["pump-1"]);
    done(root.put(
        "/policies/quiet",
        json!({"effect": "deny", "who": ["vera"], "path": "system", "verbs": ["read"]}),
    ));
    assert!(
        devices(&done(viewer.get("/certificates"))).is_empty(),
        "it is of the part that vera may not read"
    );
}

#[test]
fn what_signs_in_one_tenant_is_nothing_to_another() {
    let (world, root) = World::new();
    let boss = world.tenant(&root, "acme");
    done(root.post("/authorities", json!({"name": "devices"})));
    done(root.post("/enrolment-groups", json!({"name": "pumps", "generate_key": true})));
    for person in [&root, &boss] {
        done(person.put("/devices/pump-1", json!({})));
    }
    done(root.post("/devices/pump-1/certificates", request()));

    refused(boss.get("/authorities/devices"), 404, "unknown");
    refused(boss.get("/authorities/devices/request"), 404, "unknown");
    refused(boss.get("/enrolment-groups/pumps"), 404, "unknown");
    refused(boss.post("/enrolment-groups/pumps/keys", json!({"device_id": "pump-1"})), 404, "unknown");
    refused(boss.put("/devices/pump-2", json!({"group": "pumps"})), 404, "unknown");
    refused(boss.post("/devices/pump-1/certificates", request()), 409, "no-authority");
    assert!(devices(&done(boss.get("/certificates"))).is_empty());
    assert!(done(boss.get("/authorities"))["items"].as_array().unwrap().is_empty());
    done(boss.post("/authorities", json!({"name": "devices"})));
    assert_ne!(
        done(boss.get("/authorities/devices"))["fingerprint"],
        done(root.get("/authorities/devices"))["fingerprint"]
    );
}

#[test]
fn what_cannot_sign_is_refused_and_nothing_is_kept_of_it() {
    let (mut world, root) = World::new();
    let long = "x".repeat(65);
    let own = done(root.post("/authorities", json!({"name": "devices"})))["certificates"].clone();

    refused(root.post("/authorities", json!({"name": "devices"})), 409, "contradiction");
    refused(root.post("/authorities", json!({"name": long})), 422, "unfit");
    refused(root.put("/authorities/devices/certificates", json!({"certificates": "none"})), 422, "malformed");
    refused(root.put("/authorities/others/certificates", json!({"certificates": own})), 404, "unknown");
    for body in [
        json!({"name": "pumps"}),
        json!({"name": "pumps", "ca": own, "generate_key": true}),
        json!({"name": "pumps", "ca": "none"}),
        json!({"name": "pumps", "ca": own}),
    ] {
        refused(root.post("/enrolment-groups", body), 422, "malformed");
    }
    let no_kind = json!({"name": "pumps", "generate_key": true, "kind": "none"});
    refused(root.post("/enrolment-groups", no_kind), 422, "unknown-kind");
    done(root.put("/devices/pump-1", json!({})));
    for body in [json!({"csr": "none"}), json!({"csr": "x".repeat(9_000)}), json!({})] {
        assert_eq!(root.post("/devices/pump-1/certificates", body).0 / 10, 42);
    }
    let forever = json!({"csr": generate("pump-1").unwrap().1, "ttl_s": 400_000_000});
    refused(root.post("/devices/pump-1/certificates", forever), 422, "malformed");

    world.crash();
    let root = world.person(&root.token);
    assert_eq!(done(root.get("/authorities/devices"))["certificates"], own);
    assert!(done(root.get("/enrolment-groups"))["items"].as_array().unwrap().is_empty());
    assert_eq!(done(root.get("/devices/pump-1"))["credentials"], json!([]));
    done(root.post("/devices/pump-1/certificates", request()));
}
