//! The registry as lines of JSON, out of one node and into another, over the command line.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use support::node::Node;

/// Runs `twinfold device` with these words against a node, with this on its stdin.
fn device(node: &Node, words: &[&str], stdin: &str) -> Output {
    let mut twinfold = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    twinfold.arg("device").args(words).args(["--url", &format!("http://{}", node.at.http)]);
    twinfold.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = twinfold.spawn().expect("the binary can be started");
    child.stdin.take().expect("it is piped").write_all(stdin.as_bytes()).expect("it is read");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_one_node_exports_another_imports() {
    let (source, target) = (Node::start(), Node::start());
    let lines = "{\"id\":\"a-1\",\"kind\":\"thermostat\",\"tags\":{\"room\":\"attic\"}}\n\
                 {\"id\":\"a-2\",\"kind\":\"device\",\"tags\":{},\"catalogue\":{\"serial\":\"X1\"}}\n";

    let imported = device(&source, &["import"], lines);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let exported = device(&source, &["export"], "");
    assert_eq!(text(&exported.stdout), lines);
    device(&target, &["import"], &text(&exported.stdout));

    assert_eq!(text(&device(&target, &["export"], "").stdout), lines);
}

#[test]
fn a_line_that_is_refused_is_named_with_what_is_there_already() {
    let node = Node::start();
    for (line, why) in [
        ("{\"id\":\"b/2\"}", "device id `b/2`"),
        ("{\"id\":\"b-2\",\"kind\":\"nothing\"}", "no kind `nothing`"),
        ("{\"id\":\"b-2\",\"knd\":\"device\"}", "unknown field `knd`"),
        ("b-2", "expected value"),
    ] {
        let refused = device(&node, &["import"], &format!("{{\"id\":\"b-1\"}}\n\n{line}\n"));

        let said = text(&refused.stderr);
        assert!(!refused.status.success());
        assert!(said.starts_with("error: line 3: ") && said.contains(why), "{said}");
        assert!(said.trim_end().ends_with("the 1 devices before it are registered"), "{said}");
    }
}
