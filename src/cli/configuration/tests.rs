//! What the configuration file does to a command line.

use std::fs;

use super::super::grammar;
use super::*;

/// What `twinfold dev`, with a file of this content and these flags, leads to.
fn resolved(content: &str, flags: &[&str]) -> Result<(Resolved, PathBuf), String> {
    resolved_of(&["dev"], content, flags)
}

/// What a verb, with a file of this content and these flags, leads to.
fn resolved_of(verb: &[&str], content: &str, flags: &[&str]) -> Result<(Resolved, PathBuf), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("twinfold.toml");
    fs::write(&file, content).unwrap();
    let mut line: Vec<OsString> = vec!["twinfold".into()];
    line.extend(verb.iter().map(OsString::from));
    line.extend(["--config".into(), file.clone().into()]);
    line.extend(flags.iter().map(OsString::from));
    resolve(grammar(), &line).map(|resolved| (resolved, file)).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(content: &str) -> String {
    resolved(content, &[]).err().expect("it is refused")
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let (resolved, _) = resolved("devices = 3\nmqtt = \"127.0.0.1:0\"\n", &["--devices", "7"]).unwrap();

    let dev = of_verb(&resolved.matches);
    assert_eq!(dev.get_one::<u32>("devices"), Some(&7));
    assert_eq!(dev.get_one::<std::net::SocketAddr>("mqtt").unwrap().port(), 0);
    assert_eq!(dev.get_one::<std::net::SocketAddr>("http").unwrap().port(), 8080);
    assert!(resolved.printed.is_none());
}

#[test]
fn the_effective_configuration_says_where_each_value_is_from_and_is_a_configuration() {
    let content = "# mine\ndata = \"a \\\"b\\\"\"\ncheckpoint_bytes = 0x10\n";
    let (first, file) = resolved(content, &["--devices=7", "--print-config"]).unwrap();

    let printed = first.printed.unwrap();
    let file = file.display();
    for line in [
        "# twinfold dev".to_owned(),
        format!("data = 'a \"b\"'  # {file}:2"),
        format!("checkpoint_bytes = 16  # {file}:3"),
        "devices = 7  # flag --devices".to_owned(),
        "http = \"127.0.0.1:8080\"  # default".to_owned(),
    ] {
        assert!(printed.lines().any(|found| found == line), "{line} is in\n{printed}");
    }
    let (again, _) = resolved(&printed, &["--print-config"]).unwrap();
    let values = |text: &str| text.replace('\'', "\"").lines().map(without_origin).collect::<Vec<_>>();
    assert_eq!(values(&again.printed.unwrap()), values(&printed));
}

fn without_origin(line: &str) -> String {
    line.split("  # ").next().unwrap_or_default().to_owned()
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
    let error = refused("\n\ndevises = 3\n");
    assert!(error.contains(".toml:3: there is no key `devises`"), "{error}");
    assert!(error.ends_with("is it `devices`?"), "{error}");

    let error = refused("xyz = 1");
    assert!(error.contains("the keys are data, mqtt, http"), "{error}");
    let error = refused("[dev]\nmqtt = \"127.0.0.1:0\"");
    assert!(error.contains("no key `dev`"), "{error}");
    assert!(refused("config = \"other.toml\"").contains("no key `config`"));
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_its_line() {
    let error = refused("devices = 1\nmqtt = \"localhost\"");
    assert!(error.contains(".toml:2: the value of `mqtt` does not fit: invalid socket address"), "{error}");
    assert!(error.ends_with("twinfold dev --help"), "{error}");
    assert!(refused("devices = [1]").contains("one text or one number"));
    assert!(refused("devices = -1").contains("devices"));
}

#[test]
fn a_file_that_is_none_is_refused_with_what_to_do() {
    assert!(refused("devices = \n").contains(".toml:1: "));
    let line = ["twinfold", "dev", "--config", "./no/such.toml"].map(OsString::from);
    let error = resolve(grammar(), &line).err().unwrap().to_string();
    assert!(error.starts_with("reading ./no/such.toml") && error.contains("--config"), "{error}");
}

#[test]
fn one_file_is_for_all_verbs_and_each_takes_what_is_its_own() {
    let content = "url = \"http://127.0.0.1:9\"\ndevices = 3\n[bench]\nseconds = 2.5\n[events]\nlimit = 7\n\
                   type = [\"event\", \"command\"]\n[device]\ntag = [\"room=attic\", \"floor=3\"]\n";
    let (read, _) = resolved_of(&["events", "read"], content, &[]).unwrap();
    let events = of_verb(&read.matches);
    assert_eq!(events.get_one::<u16>("limit"), Some(&7));
    let types: Vec<_> = events.get_many::<String>("types").unwrap().collect();
    assert_eq!(types, ["event", "command"]);
    let (list, _) = resolved_of(&["device", "list"], content, &["--json", "--print-config"]).unwrap();
    let printed = list.printed.unwrap();
    assert!(printed.starts_with("# twinfold device list\nurl = \"http://127.0.0.1:9\""), "{printed}");
    assert!(printed.contains("\njson = true  # flag --json\n"), "{printed}");
    assert!(printed.contains("\n[device]\n# limit is not set\n"), "the limit is that of events: {printed}");
    let (add, file) = resolved_of(&["device", "add"], content, &["t-1", "--print-config"]).unwrap();
    let printed = add.printed.unwrap();
    let tags = format!("tag = [\"room=attic\", \"floor=3\"]  # {}:9\n", file.display());
    assert!(printed.contains(&tags), "{tags} is not in\n{printed}");
}

#[test]
fn what_a_verb_requires_may_be_in_the_file() {
    let (restore, _) = resolved_of(&["restore"], "data = \"./here\"\nforce = true\n", &["a.tar"]).unwrap();
    let restore = of_verb(&restore.matches);
    assert_eq!(restore.get_one::<PathBuf>("data").unwrap(), Path::new("./here"));
    assert!(restore.get_flag("force"));

    let (set, _) = resolved_of(&["twin", "set"], "[twin]\ndesired = [\"setpoint=21\"]\n", &["t-1"]).unwrap();
    assert!(of_verb(&set.matches).contains_id("desired"));
}

#[test]
fn a_key_of_another_verb_is_checked_and_one_of_a_table_is_named_with_it() {
    let error = refused("[bench]\nsecnds = 3\n");
    assert!(error.contains(".toml:2: there is no key `bench.secnds`"), "{error}");
    assert!(error.ends_with("is it `seconds`?"), "{error}");
    let error = refused("[bench]\nqos = 3\n");
    assert!(error.contains(".toml:2: the value of `bench.qos` does not fit"), "{error}");
    assert!(refused("seconds = 3\n").contains("there is no key `seconds`"));
    assert!(refused("[events]\nlimit = [1]\n").contains("one text or one number"));
}

#[test]
fn help_comes_whatever_the_file_is() {
    let line = ["twinfold", "device", "list", "--config", "./no/such.toml", "--help"].map(OsString::from);
    let Err(Error::Help(help)) = resolve(grammar(), &line) else { panic!("help is an error to the parser") };
    assert_eq!(help.kind(), ErrorKind::DisplayHelp);
}

#[test]
fn every_flag_has_a_variable_of_its_own_and_one_of_many_verbs_means_one_thing() {
    let grammar = grammar();
    let mut known = std::collections::BTreeMap::new();
    for Flag { name, arg, words, .. } in flags(&grammar) {
        let flag = arg.get_long().unwrap();
        let variable = arg.get_env().map(|variable| variable.to_string_lossy().into_owned());
        let variable = variable.unwrap_or_else(|| panic!("{words} --{flag} has no variable"));
        assert_eq!(variable, name.variable(), "{words} --{flag}");
        let is_verb =
            |noun: &Command| variable.starts_with(&format!("TWINFOLD_{}_", noun.get_name().to_uppercase()));
        let is_of_noun = grammar.get_subcommands().any(is_verb);
        assert!(
            is_of_noun == name.table.is_some() || ["log-format", "cluster-advertise"].contains(&flag),
            "{variable} looks like one of a noun"
        );
        assert!(
            !["TWINFOLD_LOG", "TWINFOLD_CONFIG"].contains(&&*variable),
            "{variable} means something else"
        );
        // The name of a value says what it is, and in which unit.
        let meaning = (flag.to_owned(), format!("{:?} {:?}", arg.get_value_names(), arg.get_action()));
        let before = known.entry(variable.clone()).or_insert_with(|| meaning.clone());
        assert_eq!(*before, meaning, "{variable} of {words}");
    }
    assert!(known.len() > 40, "the whole grammar: {known:?}");
}

#[test]
fn what_is_misspelled_ends_with_the_help_of_its_verb() {
    #[track_caller]
    fn check(line: &str, what: &str, next: &str) {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = resolve(grammar(), &line).err().expect("it is refused").to_string();
        assert!(error.starts_with(what), "{error}");
        assert!(error.ends_with(&format!("\nnext: see how it is written: {next}")), "{error}");
    }

    check("twinfold frobnicate", "unrecognized subcommand 'frobnicate'", "twinfold --help");
    check("twinfold device frob", "unrecognized subcommand 'frob'", "twinfold device --help");
    check("twinfold device list --colour", "unexpected argument '--colour'", "twinfold device list --help");
    check("twinfold device get", "the following required arguments", "twinfold device get --help");
    check("twinfold twin set t-1 --desired {", "invalid value '{'", "twinfold twin set --help");
    check("twinfold dev --mqtt localhost", "invalid value 'localhost'", "twinfold dev --help");
}
