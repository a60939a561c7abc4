//! Who may end a device for good, give its place to another, and read what those before it did.

use runtime::directory::Role;
use serde_json::json;

use super::world::World;
use super::{done, refused};

#[test]
fn what_may_not_be_written_is_not_written_by_replacing() {
    let (world, root) = World::new();
    let sam = world.admit("sam", &[Role::Security]);
    for id in ["pump-1", "pump-2", "pump-3"] {
        done(root.put(&format!("/devices/{id}"), json!({"tags": {"site": id}})));
    }
    let deny = |path: &str| {
        let policy =
            json!({"effect": "deny", "who": ["sam"], "devices": "pump-2", "path": path, "verbs": ["write"]});
        done(root.put("/policies/sited", policy));
    };

    for path in ["tags/site", "catalogue", "desired/speed"] {
        deny(path);
        refused(sam.post("/devices/pump-1/replace", json!({"by": "pump-2"})), 403, "forbidden");
    }

    assert_eq!(done(root.get("/devices/pump-2"))["tags"]["site"], "pump-2");
    done(sam.post("/devices/pump-1/replace", json!({"by": "pump-3"})));
    assert_eq!(done(root.get("/devices/pump-3"))["tags"]["site"], "pump-1");
}

#[test]
fn who_registers_devices_neither_replaces_nor_erases_them_nor_reads_what_others_of_their_id_did() {
    let (world, root) = World::new();
    let ines = world.admit("ines", &[Role::Installer]);
    done(root.put("/devices/pump-1", json!({"tags": {"hall": 2}})));
    done(root.delete("/devices/pump-1?reason=scrapped"));
    done(ines.put("/devices/pump-1", json!({})));
    done(ines.put("/devices/pump-2", json!({})));

    refused(ines.post("/devices/pump-1/replace", json!({"by": "pump-2"})), 403, "forbidden");
    refused(ines.delete("/devices/pump-1?erase=true"), 403, "forbidden");
    refused(ines.get("/twins/pump-1/events?generation=all"), 403, "forbidden");
    refused(ines.get("/twins/pump-1/telemetry?generation=all"), 403, "forbidden");
    let own = done(ines.get("/twins/pump-1/events"));
    let types: Vec<_> = own["items"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert_eq!(types, ["registered"], "{own}");
    assert_eq!(done(root.get("/twins/pump-1/events?generation=all"))["items"].as_array().unwrap().len(), 5);

    let replaced = done(root.post("/devices/pump-1/replace", json!({"by": "pump-2", "reason": "burnt out"})));
    assert_eq!((&replaced["lifecycle"], &replaced["replaced_by"]), (&json!("replaced"), &json!("pump-2")));
    refused(ines.get("/twins/pump-1"), 410, "replaced");
    refused(root.post("/devices/pump-1/enable", json!({})), 410, "replaced");
    refused(root.post("/devices/pump-2/replace", json!({"by": "pump-1"})), 409, "conflict");
    done(root.delete("/devices/pump-1?erase=true&reason=asked%20to"));
    refused(root.get("/devices/pump-1"), 404, "unknown-twin");
}
