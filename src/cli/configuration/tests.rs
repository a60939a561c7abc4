//! What the configuration file does to a command line.

use std::fs;

use clap::CommandFactory;

use super::super::Cli;
use super::*;

/// What `twinfold dev`, with a file of this content and these flags, leads to.
fn resolved(content: &str, flags: &[&str]) -> Result<(Resolved, PathBuf), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("twinfold.toml");
    fs::write(&file, content).unwrap();
    let mut line: Vec<OsString> = ["twinfold", "dev", "--config"].map(OsString::from).to_vec();
    line.push(file.clone().into());
    line.extend(flags.iter().map(OsString::from));
    resolve(Cli::command(), &line).map(|resolved| (resolved, file)).map_err(|error| error.to_string())
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

    let error = refused("colour = 1");
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
    let error = resolve(Cli::command(), &line).err().unwrap().to_string();
    assert!(error.starts_with("reading ./no/such.toml") && error.contains("--config"), "{error}");
}

#[test]
fn every_flag_of_a_node_is_in_the_environment_under_its_own_name() {
    let command = Cli::command();
    for verb in command.get_subcommands().filter(|verb| is_configured(verb)) {
        for arg in options(verb) {
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            let expected = format!("TWINFOLD_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(variable, Some(expected), "--{}", arg.get_long().unwrap());
        }
    }
}
