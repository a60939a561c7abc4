//! The repository's own rules, as tests: what a reviewer would otherwise have to remember.
//!
//! Each rule is a claim, and fails with all that breaks it and what to do about it. They read the files that git knows
//! and what `cargo metadata` says of the workspace; nothing is built and nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[path = "tidy/names.rs"]
mod names;

use names::{names, uses_crate};

/// Which rooms a room may know, whatever for: `twins <- runtime <-+- cluster / gateway <-+- twinfold`.
const DIRECTION: [(&str, &[&str]); 5] = [
    ("twins", &[]),
    ("runtime", &["twins"]),
    ("cluster", &["runtime"]),
    ("gateway", &["runtime", "twins"]),
    ("twinfold", &["twins", "runtime", "cluster", "gateway"]),
];

/// What the model may be built from: nothing here has a clock, randomness, logging or I/O.
const MODEL_MAY_USE: &str = "
    bytes jiff minicbor serde serde_json serde_path_to_error sha2 thiserror twox-hash uuid
";

/// What the model's code may not name.
const MODEL_MAY_NOT_NAME: &str = "
    SystemTime Instant std::fs std::io std::net std::thread std::env std::process now_v7 new_v4
";

/// Each external engine, and the only places that may name it. Replacing it is then one room's work.
const ENGINES: [(&str, &[&str]); 25] = [
    ("actix_tls", &["gateway/src/http"]),
    ("actix_web", &["gateway/src/http"]),
    ("argon2", &["gateway/src/trust/password.rs"]),
    ("aws_lc_rs", &["gateway/src/trust/vault.rs"]),
    ("fjall", &["runtime/src/store/fjall"]),
    ("mqtt_protocol_core", &["gateway/src/mqtt"]),
    ("openraft", &["cluster/src/consensus", "cluster/tests"]),
    ("openraft_rt_tokio", &["cluster/src/consensus"]),
    ("opentelemetry", &["src/telemetry"]),
    ("opentelemetry_http", &["src/telemetry"]),
    ("opentelemetry_otlp", &["src/telemetry"]),
    ("opentelemetry_sdk", &["src/telemetry"]),
    ("quinn", &["cluster/src/transport", "cluster/tests/transport"]),
    // Named `rand` as well: the module of another engine.
    ("rand", &["cluster/src/consensus/rt.rs", "gateway/src/trust/vault.rs"]),
    (
        "rcgen",
        &[
            "cluster/src/transport",
            "cluster/tests/transport",
            "gateway/src/trust/authority",
            "gateway/src/tls/tests.rs",
            "src/bench/credentials.rs",
            "tests",
        ],
    ),
    ("rumqttc", &["src/simulate.rs", "tests"]),
    (
        "rustix",
        &["gateway/src/descriptors.rs", "runtime/src/files/disk.rs", "src/bench", "src/metrics.rs", "tests"],
    ),
    (
        "rustls",
        &[
            "cluster/src/transport",
            "cluster/tests/transport",
            "gateway/src/tls",
            "gateway/src/trust/authority",
            "src/bench",
            "src/cli/client.rs",
            "tests",
        ],
    ),
    ("tokio_rustls", &["gateway/src/tls"]),
    ("tracing_opentelemetry", &["src/telemetry"]),
    ("turmoil", &["cluster/tests/simulation"]),
    ("ureq", &["src/cli/client.rs", "src/telemetry", "tests"]),
    ("utoipa", &["gateway/src/http"]),
    ("webpki", &["gateway/src/trust/authority"]),
    ("x509_parser", &["cluster/src/transport", "gateway/src/trust/authority"]),
];

/// What may stand at the top.
const TOP_LEVEL: &str = "
    .ci .editorconfig .gitattributes .gitignore ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md Cargo.lock
    Cargo.toml LICENSE-APACHE LICENSE-MIT README.md THREATS.md benches cluster deny.toml examples gateway
    justfile runtime rust-toolchain.toml rustfmt.toml src tests twins
";

/// What may stand in a room.
const IN_A_ROOM: [&str; 4] = ["Cargo.toml", "proptest-regressions", "src", "tests"];

/// How long a file may be without a reason.
const LINES_MAX: usize = 450;

/// Longer files, each with its reason.
const LONG: [(&str, &str); 0] = [];

/// Words that say that something is not finished; put together here, so that this file does not hold them.
const UNFINISHED: [&str; 4] =
    [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("db", "g!("), concat!("#[ig", "nore")];

/// Where the machines of those who write this keep their files.
const MACHINE_PATHS: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!(".car", "go/registry"),
];

#[test]
fn rooms_know_each_other_in_one_direction_only() {
    let mut wrong = Vec::new();
    for member in members() {
        let Some((_, may)) = DIRECTION.iter().find(|(room, _)| *room == member.name) else {
            wrong.push(format!("{} is not in DIRECTION: say there what it may know", member.name));
            continue;
        };
        let known =
            member.dependencies.iter().filter(|dependency| dependency.is_room).map(|found| &found.name);
        let strange = known.filter(|name| !may.contains(&name.as_str()));
        wrong.extend(strange.map(|name| format!("{} may not depend on {name}", member.name)));
    }
    settle(
        wrong,
        "see the rooms in ARCHITECTURE.md; what both need belongs to the room below both, as a port",
    );
}

#[test]
fn the_model_is_pure() {
    let model = members().into_iter().find(|member| member.name == "twins").expect("the room is there");
    let used = model.dependencies.iter().filter(|dependency| dependency.kind != "dev");
    let strange = used.filter(|dependency| !lists(MODEL_MAY_USE, &dependency.name));
    let mut wrong: Vec<String> = strange.map(|found| format!("twins depends on {}", found.name)).collect();
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("twins/src")) {
        wrong.extend(lines_with(path, text, |code| {
            MODEL_MAY_NOT_NAME.split_whitespace().any(|name| names(code, name))
        }));
    }
    settle(wrong, "the model takes time and ids as arguments; clocks, files and threads belong to runtime");
}

#[test]
fn each_engine_is_named_in_one_place() {
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("tests/tidy")) {
        for (engine, _) in
            ENGINES.iter().filter(|(_, places)| !places.iter().any(|place| is_in(&path, place)))
        {
            wrong.extend(lines_with(&path, &text, |code| uses_crate(code, engine)));
        }
    }
    settle(
        wrong,
        "use the room's own types instead; what an engine is for and where it lives is in ARCHITECTURE.md",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        wrong.extend(lines_with(&path, &text, |code| UNFINISHED.iter().any(|word| code.contains(word))));
    }
    settle(wrong, "finish it or take it out; what is missing belongs in an issue");
}

#[test]
fn nothing_stands_where_it_does_not_belong() {
    let mut wrong = BTreeSet::new();
    for path in files() {
        let mut parts = path.split('/');
        let (top, second) = (parts.next().unwrap_or_default(), parts.next());
        if !lists(TOP_LEVEL, top) {
            wrong.insert(format!("{top} at the top"));
        }
        let is_room = DIRECTION.iter().any(|(room, _)| *room == top);
        if is_room && second.is_some_and(|name| !IN_A_ROOM.contains(&name)) {
            wrong.insert(format!("{}/{}", top, second.unwrap_or_default()));
        }
    }
    settle(wrong.into_iter().collect(), "remove it, move it, or add its place to TOP_LEVEL or IN_A_ROOM");
}

#[test]
fn every_source_file_is_a_module_of_its_crate() {
    let sources: BTreeMap<String, String> = sources().into_iter().collect();
    let roots = ["lib", "main"];
    let mut wrong = Vec::new();
    for path in sources.keys().filter(|path| path.starts_with("src/") || path.contains("/src/")) {
        let module = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
        let Some((folder, name)) = module.rsplit_once('/') else { continue };
        let is_root = roots.contains(&name) && (folder == "src" || folder.ends_with("/src"));
        let parents = [
            format!("{folder}.rs"),
            format!("{folder}/mod.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
        ];
        let declares =
            |parent: &String| sources.get(parent).is_some_and(|text| text.contains(&format!("mod {name};")));
        if !is_root && !parents.iter().any(declares) {
            wrong.push(format!("{path} is not compiled: nobody says `mod {name};`"));
        }
    }
    settle(wrong, "declare it in its parent, or remove the file");
}

#[test]
fn every_member_says_what_it_is_and_follows_the_workspace() {
    let mut wrong = Vec::new();
    for member in members() {
        let manifest = &member.manifest;
        if member.description.is_empty() {
            wrong.push(format!("{}: no description", member.name));
        }
        if !section(manifest, "lints").contains(&"workspace = true") {
            wrong.push(format!("{}: lints are not those of the workspace", member.name));
        }
        for inherited in ["version", "edition", "rust-version", "license", "publish"] {
            if !section(manifest, "package").contains(&format!("{inherited}.workspace = true").as_str()) {
                wrong.push(format!("{}: {inherited} is not that of the workspace", member.name));
            }
        }
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        let listed = kinds.iter().flat_map(|kind| section(manifest, kind));
        let own = listed.filter(|line| line.contains('=') && !line.contains("workspace = true"));
        wrong.extend(own.map(|line| format!("{}: `{line}` has a version of its own", member.name)));
    }
    settle(
        wrong,
        "say it in the member's Cargo.toml as the other members do; versions stand in the workspace's",
    );
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let bare = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    settle(bare.map(|(path, _)| path).collect(), "begin it with `//!` and one sentence");
}

#[test]
fn no_file_is_long_without_a_reason() {
    let lengths: BTreeMap<String, usize> =
        sources().into_iter().map(|(path, text)| (path, text.lines().count())).collect();
    let reason = |path: &str| LONG.iter().any(|(listed, _)| *listed == path);
    let long = lengths.iter().filter(|(path, lines)| **lines > LINES_MAX && !reason(path));
    let mut wrong: Vec<String> = long.map(|(path, lines)| format!("{path} has {lines} lines")).collect();
    let stale = LONG.iter().filter(|(path, _)| lengths.get(*path).is_none_or(|lines| *lines <= LINES_MAX));
    wrong.extend(stale.map(|(path, _)| format!("{path} needs no place in LONG any more")));
    settle(wrong, "make it a folder, split by what comes in; or give the reason in LONG");
}

#[test]
fn every_dependency_has_its_sentence() {
    let manifest = read("Cargo.toml");
    let listed = section(&manifest, "workspace.dependencies");
    let external = listed.iter().filter(|line| !line.starts_with('#') && !line.contains("path ="));
    let external: BTreeSet<&str> = external.filter_map(|line| line.split([' ', '=', '.']).next()).collect();
    let members = members();
    let used: BTreeSet<&str> = members
        .iter()
        .flat_map(|member| &member.dependencies)
        .map(|dependency| dependency.name.as_str())
        .collect();
    let architecture = read("ARCHITECTURE.md");
    let rows = architecture.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let explained: BTreeSet<&str> =
        rows.filter(|(_, rest)| rest.matches('|').count() == 4).map(|(name, _)| name).collect();

    let missing = external.difference(&explained).map(|name| format!("{name} has no row in ARCHITECTURE.md"));
    let stale = explained.difference(&external).map(|name| format!("{name} has a row, but is no dependency"));
    let unused =
        external.difference(&used).map(|name| format!("{name} is in the workspace, but no member uses it"));
    settle(
        missing.chain(stale).chain(unused).collect(),
        "its table says for each dependency where it is named, under which licence it comes, and why it is there",
    );
}

#[test]
fn the_documents_name_files_that_exist() {
    let known = files();
    let mut wrong = Vec::new();
    for document in known.iter().filter(|path| path.ends_with(".md") && !path.contains('/')) {
        for named in read(document).split('`').skip(1).step_by(2).filter(|word| is_source_path(word)) {
            let path = named.trim_end_matches('/');
            if !known.iter().any(|file| is_in(file, path)) {
                wrong.push(format!("{document} names `{named}`"));
            }
        }
    }
    settle(wrong, "correct the document: it describes what is there");
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if MACHINE_PATHS.iter().any(|place| line.contains(place)) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    settle(wrong, "use a path relative to the repository, or a temporary folder");
}

/// A crate of the workspace.
struct Member {
    name: String,
    description: String,
    manifest: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    /// `normal`, `dev` or `build`.
    kind: String,
    is_room: bool,
}

#[track_caller]
fn settle(wrong: Vec<String>, advice: &str) {
    assert!(wrong.is_empty(), "\n  {}\n\n{advice}\n", wrong.join("\n  "));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

fn members() -> Vec<Member> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo runs this test, so it is there");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependency = |found: &Value| Dependency {
        name: text(&found["name"]),
        kind: found["kind"].as_str().unwrap_or("normal").to_owned(),
        is_room: !found["path"].is_null(),
    };
    let member = |package: &Value| Member {
        name: text(&package["name"]),
        description: text(&package["description"]),
        manifest: std::fs::read_to_string(text(&package["manifest_path"])).expect("cargo has read it"),
        dependencies: package["dependencies"].as_array().into_iter().flatten().map(dependency).collect(),
    };
    metadata["packages"].as_array().expect("a workspace has packages").iter().map(member).collect()
}

/// The lines of a manifest's section, trimmed.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != format!("[{name}]")).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect()
}

/// What belongs to the repository: what git knows or would add, or everything but the build where there is no git.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let listed = git.output().ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let mut files = match listed {
        Some(listed) => String::from_utf8_lossy(&listed).split_terminator('\0').map(str::to_owned).collect(),
        None => {
            let mut found = Vec::new();
            walk(root(), &mut found);
            found
        }
    };
    files.retain(|path: &String| root().join(path).is_file());
    files.sort();
    files
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is readable").flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root()).expect("it is inside").to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "target" || name == ".git" => {}
            true => walk(&path, found),
            false => found.push(name),
        }
    }
}

/// Every Rust file, with its text.
fn sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| (path.clone(), read(&path))).collect()
}

fn lists(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|listed| listed == word)
}

fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The lines of a file whose code, comments apart, is as asked.
fn lines_with(path: &str, text: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let code = |line: &str| line.split_once("//").map_or(line, |(code, _)| code).to_owned();
    let wrong = text.lines().enumerate().filter(|(_, line)| is_wrong(&code(line)));
    wrong.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())).collect()
}

/// Whether a word of a document is the path of a source file or folder, not a topic or a command.
fn is_source_path(word: &str) -> bool {
    let in_room = word.split_once('/').is_some_and(|(top, rest)| {
        DIRECTION.iter().any(|(room, _)| *room == top)
            && (rest.starts_with("src/") || rest.starts_with("tests/"))
    });
    let at_top = ["src/", "tests/", "examples/", ".ci/"].iter().any(|folder| word.starts_with(folder));
    (in_room || at_top) && !word.contains([' ', '*', '{', '<', '\n'])
}
