//! What a node says of itself to those who watch it: `/metrics` and `/readyz`.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use support::node::{Node, eventually};
use support::online::Online;

/// Where metrics are declared.
const DECLARED: [&str; 4] = [
    include_str!("../runtime/src/metrics.rs"),
    include_str!("../cluster/src/metrics.rs"),
    include_str!("../gateway/src/metrics.rs"),
    include_str!("../src/metrics.rs"),
];

/// A page, read as OpenMetrics 1.0 wants it: each family once, its samples behind it, an end.
#[derive(Default)]
struct Page {
    /// The type of each family.
    families: BTreeMap<String, String>,
    /// Each sample's value, by its name with its labels.
    samples: BTreeMap<String, f64>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with an end");
        let mut page = Self::default();
        let (mut family, mut helped) = (String::new(), String::new());
        for line in body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("help has words");
                assert!(!words.is_empty(), "{line}");
                helped = name.to_owned();
            } else if let Some(r#type) = line.strip_prefix("# TYPE ") {
                let (name, r#type) = r#type.split_once(' ').expect("a type has a name");
                assert_eq!(name, helped, "a family has its help before its type");
                let before = page.families.insert(name.to_owned(), r#type.to_owned());
                assert!(before.is_none(), "{name} is there twice");
                family = name.to_owned();
            } else {
                let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
                let name = sample.split('{').next().unwrap_or_default();
                let suffixes: &[&str] = match page.families[&family].as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_sum", "_count", "_bucket"],
                    "info" => &["_info"],
                    other => panic!("{family} is a {other}"),
                };
                let fits = suffixes.iter().any(|suffix| name == format!("{family}{suffix}"));
                assert!(fits, "{line} is no sample of {family}");
                let labels = sample.strip_prefix(name).unwrap_or_default();
                assert!(labels.is_empty() || labels.starts_with('{') && labels.ends_with("\"}"), "{line}");
                let value = value.parse::<f64>().expect("a value is a number");
                let before = page.samples.insert(sample.to_owned(), value);
                assert!(before.is_none(), "{sample} is there twice");
            }
        }
        page
    }

    fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or_default()
    }
}

fn page(node: &Node) -> Page {
    let mut answer = ureq::get(format!("http://{}/metrics", node.at.http)).call().expect("the node answers");
    let content_type = answer.headers()["content-type"].to_str().expect("a text").to_owned();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
    Page::parse(&answer.body_mut().read_to_string().expect("a text"))
}

#[test]
fn every_metric_that_is_declared_is_exported_and_every_exported_one_is_declared() {
    let declared = DECLARED.iter().flat_map(|text| text.split("Metric::new(").skip(1));
    let declared = declared.map(|rest| rest.split('"').nth(1).expect("a metric has a name").to_owned());
    let declared: BTreeSet<String> = declared.collect();
    let node = Node::start();

    let exported: BTreeSet<String> = page(&node).families.into_keys().collect();

    assert!(declared.len() > 35, "{declared:?}");
    assert_eq!(exported, declared);
}

#[test]
fn what_devices_and_people_do_is_counted() {
    let node = Node::start();
    let before = page(&node);
    let mut device = Online::connect(node.at.mqtt, "counted", false);
    for n in 0..10 {
        device.report(&json!({"n": n}));
    }
    device.publish("twins/me/telemetry/temperature", "21");
    let (status, _) = node.api().post("/twins/counted/commands", &json!({"name": "go"})).expect("an answer");
    assert_eq!(status, 202);
    node.twin("counted");
    let (status, _) = node.api().get("/twins/nobody").expect("an answer");
    assert_eq!(status, 404);

    let after = page(&node);

    let input = |what: &str, outcome: &str, code: &str| {
        format!("twinfold_inputs_total{{input=\"{what}\",outcome=\"{outcome}\",code=\"{code}\"}}")
    };
    let grew = |sample: &str| after.value(sample) - before.value(sample);
    assert_eq!(grew(&input("report", "accepted", "")), 10.0);
    assert_eq!(grew(&input("sample", "accepted", "")), 1.0);
    assert_eq!(grew(&input("connect", "accepted", "")), 1.0);
    assert_eq!(grew(&input("read", "refused", "unknown-twin")), 1.0);
    assert_eq!(grew("twinfold_commands_total{step=\"queued\"}"), 1.0);
    assert!(grew("twinfold_decisions_total") >= 13.0);
    assert!((1.0..=grew("twinfold_decisions_total")).contains(&grew("twinfold_commits_total")));
    assert!(grew("twinfold_wal_sync_duration_seconds_count") >= 1.0);
    assert!(grew("twinfold_wal_written_bytes_total") > 100.0);
    assert!(grew("twinfold_input_duration_seconds_count") >= 14.0);
    assert!(grew("twinfold_stream_bytes_total") > 0.0);
    // CONNECT and eleven publishes; CONNACK and as many acknowledgements.
    assert_eq!(grew("twinfold_mqtt_packets_total{direction=\"in\"}"), 12.0);
    assert_eq!(grew("twinfold_mqtt_packets_total{direction=\"out\"}"), 12.0);
    assert!(grew("twinfold_mqtt_bytes_total{direction=\"in\"}") > 300.0);
    let request = |class: &str| {
        let labels = format!("route=\"/v1/twins/{{id}}\",method=\"GET\",status=\"{class}\"");
        format!("twinfold_http_request_duration_seconds_count{{{labels}}}")
    };
    assert_eq!((grew(&request("2xx")), grew(&request("4xx"))), (1.0, 1.0));
    assert_eq!(after.value("twinfold_connected_sessions"), 1.0);
    assert_eq!(after.value("twinfold_mqtt_connections{transport=\"mqtt\"}"), 1.0);
    assert_eq!(after.value("twinfold_registered_twins"), 1.0);
    assert_eq!(after.value("twinfold_shards_serving"), 64.0);
    assert_eq!(after.value("twinfold_wal_stopped"), 0.0);
    assert!(after.value("process_resident_memory_bytes") > 1e6);

    device.leave();
    let closed = "twinfold_mqtt_closes_total{reason=\"closed by the client\"}";
    let gone = eventually(|| {
        let now = page(&node);
        (now.value("twinfold_connected_sessions") == 0.0 && now.value(closed) == 1.0).then_some(())
    });
    gone.expect("the connection is not counted any more");
}

#[test]
fn no_label_names_a_device() {
    let node = Node::start();
    let mut device = Online::connect(node.at.mqtt, "private-device-17", false);
    device.report(&json!({"secret": "a-secret-value"}));
    node.twin("private-device-17");

    let page = page(&node);

    let telling = page.samples.keys().find(|sample| sample.contains("private") || sample.contains("secret"));
    assert_eq!(telling, None);
    assert!(page.samples.len() < 1_000, "{} samples", page.samples.len());
}

#[test]
fn a_node_that_serves_is_ready() {
    let node = Node::start();
    let mut answer = ureq::get(format!("http://{}/readyz", node.at.http)).call().expect("the node answers");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body_mut().read_to_string().expect("a text"), "ready\n");
}

#[test]
fn a_node_that_cannot_write_its_log_is_not_ready_and_says_why() {
    let node = Node::whose_writes_may_fail();
    let (status, _) = node.api().put("/devices/late", &json!({"kind": "device"})).expect("an answer");
    assert_eq!(status, 201);

    node.fail_writes();
    let (status, refused) =
        node.api().patch("/twins/late", &json!({"desired": {"on": true}})).expect("an answer");
    assert_eq!(status, 503, "{refused}");

    let answer =
        ureq::get(format!("http://{}/readyz", node.at.http)).config().http_status_as_error(false).build();
    let mut answer = answer.call().expect("the node answers");
    assert_eq!(answer.status(), 503);
    let problem: serde_json::Value = answer.body_mut().read_json().expect("a problem");
    let reasons = problem["reasons"].as_array().expect("a problem has reasons");
    let log = reasons.iter().find(|reason| reason["part"] == "log").unwrap_or_else(|| panic!("{problem}"));
    let why = log["why"].as_str().expect("a text");
    assert!(why.starts_with("stopped, restart the node: ") && why.contains("File too large"), "{why}");
    let alive = ureq::get(format!("http://{}/healthz", node.at.http)).call().expect("the node answers");
    assert_eq!(alive.status(), 200, "it lives, and can say so");
}

#[test]
fn a_trace_goes_from_the_request_to_the_record_of_what_it_caused() {
    let node = Node::start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let registered = ureq::put(format!("http://{}/v1/devices/traced", node.at.http))
        .header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"))
        .send_json(json!({"kind": "device"}));
    assert_eq!(registered.expect("the node answers").status(), 201);

    let (_, page) = node.api().get("/twins/traced/events").expect("an answer");

    assert_eq!(page["items"][0]["trace"], trace, "{page}");
}
