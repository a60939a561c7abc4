//! The first admin of a folder, and what the command line makes of who may what, against a node that runs.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::http::Api;
use support::process::{Addresses, Process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_twinfold");

/// Runs `twinfold` with these words.
fn twinfold(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).output().expect("the binary can be started")
}

/// What it printed, of a verb that did what it says.
#[track_caller]
fn printed(words: &[&str]) -> String {
    let output = twinfold(words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn start(data: &Path) -> (Process, Addresses) {
    let at = Addresses::free();
    (Process::dev(Path::new(PROGRAM), &[], data, at, &[]), at)
}

#[test]
fn the_first_admin_comes_in_by_the_folder_and_is_in_its_audit() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();

    let token = printed(&["user", "add", "ada", "--role", "admin", "--data", folder]);
    let (node, at) = start(data.path());
    let running = twinfold(&["user", "add", "eve", "--role", "admin", "--data", folder]);
    let url = format!("http://{}", at.http);
    let users = printed(&["user", "list", "--url", &url]);
    let lines = printed(&["audit", "list", "--url", &url]);
    let head = printed(&["audit", "verify", "--url", &url]);
    assert_eq!(node.stop(), Some(0));
    let dumped = printed(&["log", "dump", folder, "--group", "0"]);

    assert!(token.starts_with("twf_") && token.trim_end().len() == 64, "one line, for a script");
    assert!(!running.status.success() && text(&running.stderr).contains("next: stop the other node"));
    assert!(users.contains("ada") && users.contains("admin") && !users.contains("eve"), "{users}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(dumped.contains("default: user-put ada, by folder"), "{dumped}");
    for shown in [users, lines.clone(), dumped] {
        assert!(!shown.contains(&token.trim_end()[21..]), "{shown}");
    }
    // Kept elsewhere, it can be checked without the node; and what was edited is found.
    let file = data.path().join("audit.jsonl");
    std::fs::write(&file, &lines).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(printed(&["audit", "verify", file, "--head", head.trim_end()]), head);
    std::fs::write(file, lines.replace("folder", "nobody")).unwrap();
    let edited = twinfold(&["audit", "verify", file]);
    assert!(!edited.status.success() && text(&edited.stderr).contains("entry 1 was changed"));
}

#[test]
fn who_may_what_is_defined_and_explained_by_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    let (_node, at) = start(data.path());
    let url = format!("http://{}", at.http);
    let say = |words: &str| printed(&words.split(' ').chain(["--url", &url]).collect::<Vec<_>>());

    say("user add olga --role operator");
    say("service add billing");
    let made = say("token add --owner billing --role viewer --ttl 60");
    say("policy add night --deny role:operator --verb control --device pump-* --path commands/open");
    assert!(say("token list").contains(made[4..].split('_').next().unwrap()));
    assert!(say("policy list").contains("commands/open"));
    assert!(say("service show billing").contains("billing"));
    assert!(say("policy explain control pump-7 commands/close --who olga").contains("allowed"));

    let words = ["policy", "explain", "control", "pump-7", "commands/open", "--who", "olga", "--url", &url];
    let denied = twinfold(&words);
    assert_eq!(denied.status.code(), Some(1));
    assert!(text(&denied.stdout).contains("the policy `night` denies it"), "{}", text(&denied.stdout));

    say("policy remove night");
    say("user remove olga --reason left");
    say("tenant add acme --admin carl");
    say("tenant disable acme");
    say("tenant remove acme");
    let (_, audit) = Api::of(at.http).get("/audit").unwrap();
    let actions = audit["items"].as_array().unwrap().iter().map(|line| line["action"].as_str());
    assert_eq!(
        actions.collect::<Option<Vec<_>>>().unwrap(),
        [
            "user-put",
            "service-put",
            "token-added",
            "policy-put",
            "policy-removed",
            "user-removed",
            "tenant-added",
            "tenant-disabled",
            "tenant-removed",
        ]
    );
    assert_eq!(audit["items"][5]["reason"], Value::from("left"));
    let refused = twinfold(&["user", "remove", "nobody", "--url", &url]);
    assert!(
        text(&refused.stderr).contains("there is no user `nobody` (unknown)"),
        "{}",
        text(&refused.stderr)
    );
}
