//! The measurements, run for a moment each: what they end with, never how fast anything was.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

/// The report that `twinfold bench WHAT FLAGS... --json` ends with.
#[track_caller]
fn measured(flags: &[&str]) -> Value {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    let output =
        bench.arg("bench").args(flags).args(["--json", "--seconds", "0.5"]).output().expect("it runs");
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{flags:?}: {said}");
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("a line of JSON");
    let figures = report.as_object().expect("an object");
    assert!(figures.values().all(|figure| !figure.is_object() && !figure.is_array()), "flat: {report}");
    for name in ["seconds", "acked", "acked_per_s", "errors", "p50_us", "p99_us", "p999_us", "max_us"] {
        assert!(report[name].is_number(), "{name} is in {report}");
    }
    assert_eq!(report["what"], flags[0]);
    assert_eq!(report["errors"], 0, "{report}\n{said}");
    assert!(report["acked"].as_u64() > Some(0), "{report}");
    assert!(report["fsync_before_p50_us"].as_u64() > Some(0), "{report}");
    report
}

#[test]
fn a_node_of_its_own_is_measured_with_what_it_used() {
    let report = measured(&["mqtt", "--connections", "4", "--window", "8"]);
    assert!(report["target_rss_idle_bytes"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_node_in_the_open_lets_in_whoever_shows_what_its_group_has() {
    for credentials in ["key", "certificate"] {
        measured(&["mqtt", "--connections", "3", "--credentials", credentials]);
    }
}

#[test]
fn under_a_rate_so_many_messages_are_sent() {
    let report = measured(&["mqtt", "--connections", "3", "--rate", "200", "--payload", "16"]);
    let acked = report["acked"].as_u64().expect("a number");
    assert!(acked <= 101, "half a second at 200 a second: {report}");
}

#[test]
fn a_message_without_acknowledgements_counts_when_it_was_read() {
    measured(&["mqtt", "--connections", "2", "--qos", "0"]);
}

#[test]
fn a_sample_comes_back_as_a_command() {
    measured(&["loop", "--connections", "3"]);
}

#[test]
fn updates_are_measured_without_a_network() {
    let report = measured(&["inproc", "--twins", "100"]);
    assert!(report["acked"].as_u64() > Some(100), "{report}");
}

#[test]
fn each_passivated_twin_is_activated_once() {
    let report = measured(&["activate", "--twins", "500"]);
    assert_eq!(report["acked"], 500, "{report}");
}

#[test]
fn starts_are_measured_after_a_kill_and_after_a_stop() {
    let report = measured(&["replay", "--twins", "200", "--updates", "1000"]);
    for name in ["p50_us", "stopped_p50_us", "empty_us"] {
        assert!(report[name].as_u64() > Some(0), "{name} is in {report}");
    }
}

#[test]
fn a_device_is_measured_while_others_do_what_a_node_must_bear() {
    for scenario in ["idle", "silent", "slow", "flood"] {
        let report = measured(&["storm", "--connections", "20", "--scenario", scenario]);
        assert_eq!(report["scenario"], scenario);
        assert!(report["rest_p99_us"].as_u64() > Some(0), "{report}");
        let (used, max) = (&report["bytes_per_connection"], &report["bytes_per_connection_max"]);
        assert!(used.as_u64() <= max.as_u64() && max.is_u64(), "as THREATS.md has it: {report}");
    }
}

#[test]
fn all_come_back_after_a_kill() {
    let report = measured(&["storm", "--connections", "100"]);
    assert_eq!((&report["scenario"], &report["others_open"]), (&"reconnect".into(), &100.into()), "{report}");
}

#[test]
fn all_come_back_by_their_certificates() {
    let report = measured(&["storm", "--connections", "30", "--credentials", "certificate"]);
    assert_eq!((&report["credentials"], &report["others_open"]), (&"certificate".into(), &30.into()));
}

#[test]
fn devices_come_and_go_with_whole_handshakes_and_with_resumed_ones() {
    let report =
        measured(&["connect", "--connections", "2", "--twins", "50", "--credentials", "certificate"]);
    assert_eq!(
        report["resumed"], report["resumed_acked"],
        "each but the first, before it was measured: {report}"
    );
    assert!(report["resumed"].as_u64() > Some(0) && report["resumed_p50_us"].is_u64(), "{report}");

    let report = measured(&["connect", "--connections", "2", "--twins", "50"]);
    assert!(report["resumed"].is_null(), "{report}");
}

#[test]
fn a_cluster_loses_a_node_and_nothing_else() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    bench.args(["bench", "cluster", "--connections", "30", "--rate", "5", "--seconds", "3", "--json"]);
    let output = bench.output().expect("it runs");

    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{said}");
    let report: Value = serde_json::from_str(&out).expect("one object and nothing else");
    assert_eq!((&report["lost"], &report["duplicated"]), (&0.into(), &0.into()), "{report}");
    assert!(report["acked"].as_u64() >= Some(400), "each device all that it said: {report}");
    assert!(report["failover_ms_max"].as_f64() >= report["failover_ms_p50"].as_f64(), "{report}");
    assert!(report["failover_shards"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_measurement_with_losses_fails_and_reports_them() {
    // Lets a device in, and leaves at its first message.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let target = listener.local_addr().expect("it is bound").to_string();
    let broker = std::thread::spawn(move || {
        let (mut device, _) = listener.accept().expect("the device connects");
        for answer in [&[0x20, 2, 0, 0][..], &[0x90, 3, 0, 1, 0]] {
            assert!(device.read(&mut [0; 1_024]).expect("the device speaks") > 0);
            device.write_all(answer).expect("the device listens");
        }
        drop(device.read(&mut [0; 1_024]));
    });

    let mut bench = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    bench.args(["bench", "mqtt", "--connections", "1", "--seconds", "0.5", "--json", "--target", &target]);
    let output = bench.output().expect("it runs");
    broker.join().expect("the broker did its part");

    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("a line of JSON");
    assert!(!output.status.success() && said.contains("refused or lost\nnext: "), "{said}");
    assert!(report["errors"].as_u64() > Some(0), "{report}");
}

#[test]
fn whoever_is_not_there_cannot_be_measured() {
    // Port 1 is of a service that nobody has run for decades.
    let mut bench = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    let output = bench.args(["bench", "mqtt", "--target", "127.0.0.1:1"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("next: "), "{said}");
}
