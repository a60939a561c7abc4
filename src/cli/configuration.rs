//! The configuration file: its keys are the flags of a verb, and a flag and the environment go before it.
//!
//! What the file says becomes the default of the flag of that name, so that there is one grammar, one place for each
//! limit, and one order: flags, environment, file, defaults. A key that is no flag is refused.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use toml::Value;
use toml::de::{DeTable, DeValue};

/// Below this likeness (Jaro-Winkler, 0 to 1) a key is not taken for a misspelled one.
const LIKENESS_MIN: f64 = 0.75;

/// The flags of a verb that can be configured.
#[derive(Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Configured {
    /// A file (TOML) for what is neither a flag nor in the environment; its keys are the flags, with _ for -
    #[arg(long, env = "TWINFOLD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration that flags, environment and file lead to, and end
    #[arg(long)]
    print_config: bool,
}

/// Why a configuration is none. Each ends with what to do next.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("reading {}: {why}\nnext: see whether --config names the right file", file.display())]
    Unreadable { file: PathBuf, why: std::io::Error },
    #[error("{}:{line}: {why}\nnext: correct the file; it is TOML: key = value, texts in quotes", file.display())]
    Malformed { file: PathBuf, line: usize, why: String },
    #[error("{}:{line}: there is no key `{key}`\nnext: {next}", file.display())]
    UnknownKey { file: PathBuf, line: usize, key: String, next: String },
    #[error("{}:{line}: the value of `{key}` does not fit: {why}\nnext: see what it may be: {verb} --help", file.display())]
    Unfit { file: PathBuf, line: usize, key: String, why: String, verb: String },
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

/// A key of the file, its value as a flag would have it, and its line.
struct Key {
    name: String,
    value: String,
    line: usize,
}

/// What the words of a command line lead to.
pub(super) struct Resolved {
    pub(super) matches: ArgMatches,
    /// The configuration, where it is to be printed and nothing else done.
    pub(super) printed: Option<String>,
}

/// Parses a command line whose verb may name a configuration file.
pub(super) fn resolve(command: Command, line: &[OsString]) -> Result<Resolved, Error> {
    let matches = command.clone().try_get_matches_from(line)?;
    let verb = words(&matches);
    let leaf = verb.iter().try_fold(&command, |at, word| at.find_subcommand(word));
    let Some(leaf) = leaf.filter(|leaf| is_configured(leaf)).cloned() else {
        return Ok(Resolved { matches, printed: None });
    };
    let file = of_verb(&matches).get_one::<PathBuf>("config").cloned();
    let keys = match &file {
        None => Vec::new(),
        Some(file) => read(file, &command, &leaf, &verb)?,
    };
    let matches = with_defaults(command, &verb, &keys).try_get_matches_from(line)?;
    let given = of_verb(&matches);
    let printed = given
        .get_flag("print_config")
        .then(|| print(&leaf, &verb, given, file.as_deref().unwrap_or(Path::new("")), &keys));
    Ok(Resolved { matches, printed })
}

/// Reads the file and checks each key, also those that a flag or the environment goes before.
fn read(file: &Path, command: &Command, leaf: &Command, verb: &[String]) -> Result<Vec<Key>, Error> {
    let unreadable = |why| Error::Unreadable { file: file.to_owned(), why };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(&text).map_err(|error| Error::Malformed {
        file: file.to_owned(),
        line: error.span().map_or(1, |span| line_of(span.start)),
        why: error.message().to_owned(),
    })?;
    let mut keys = Vec::new();
    for (name, value) in table.get_ref() {
        let (line, name) = (line_of(name.span().start), name.get_ref().to_string());
        let Some(arg) = options(leaf).find(|arg| arg.get_id() == name.as_str()) else {
            let next = nearest(leaf, &name);
            return Err(Error::UnknownKey { file: file.to_owned(), line, key: name, next });
        };
        let unfit = |why: String| Error::Unfit {
            file: file.to_owned(),
            line,
            key: name.clone(),
            why,
            verb: format!("twinfold {}", verb.join(" ")),
        };
        let is_flag = !arg.get_action().takes_values();
        let value = match value.get_ref() {
            DeValue::String(text) if !is_flag => text.to_string(),
            DeValue::Integer(number) if !is_flag => i128::from_str_radix(number.as_str(), number.radix())
                .map_err(|error| unfit(error.to_string()))?
                .to_string(),
            DeValue::Float(number) if !is_flag => number.as_str().to_owned(),
            DeValue::Boolean(is_set) => is_set.to_string(),
            _ if is_flag => return Err(unfit("it is true or false".into())),
            _ => return Err(unfit("it is one text or one number".into())),
        };
        if !is_flag && let Some(why) = refusal(command, verb, arg, &value) {
            return Err(unfit(why));
        }
        keys.push(Key { name, value, line });
    }
    Ok(keys)
}

/// Why a flag does not take this value.
fn refusal(command: &Command, verb: &[String], arg: &Arg, value: &str) -> Option<String> {
    let mut line = vec!["twinfold".to_owned()];
    line.extend_from_slice(verb);
    line.push(format!("--{}={value}", arg.get_long().unwrap_or_default()));
    let error = command.clone().try_get_matches_from(line).err()?;
    // Other errors are of the rest of the line, which is not the file's.
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let why = std::error::Error::source(&error).map(ToString::to_string);
    Some(why.unwrap_or_else(|| format!("{value:?} is none of those it may be")))
}

/// The command with the file's values as the defaults of a verb.
fn with_defaults(command: Command, verb: &[String], keys: &[Key]) -> Command {
    match verb.split_first() {
        None => keys.iter().fold(command, |command, key| {
            command.mut_arg(&key.name, |arg| arg.default_value(key.value.clone()))
        }),
        Some((word, rest)) => command.mut_subcommand(word, |inner| with_defaults(inner, rest, keys)),
    }
}

/// The effective configuration as TOML, each key with where its value is from. Never a secret.
fn print(leaf: &Command, verb: &[String], given: &ArgMatches, file: &Path, keys: &[Key]) -> String {
    let mut printed = format!("# twinfold {}\n", verb.join(" "));
    for arg in options(leaf) {
        let (name, flag) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
        let key = keys.iter().find(|key| key.name == name);
        let from = match (given.value_source(name), arg.get_env(), key) {
            (Some(ValueSource::CommandLine), _, _) => format!("flag --{flag}"),
            (Some(ValueSource::EnvVariable), Some(variable), _) => {
                format!("environment {}", variable.to_string_lossy())
            }
            (_, _, Some(key)) => format!("{}:{}", file.display(), key.line),
            _ => "default".to_owned(),
        };
        let value = given.get_raw(name).and_then(|mut values| values.next()).map(|raw| raw.to_string_lossy());
        let line = match value {
            None => writeln!(printed, "# {name} is not set"),
            Some(_) if arg.is_hide_env_values_set() => {
                writeln!(printed, "# {name} is a secret, from {from}")
            }
            Some(value) => writeln!(printed, "{name} = {}  # {from}", literal(&value)),
        };
        line.expect("writing to a string does not fail");
    }
    printed
}

fn literal(value: &str) -> Value {
    let number = value.parse().ok().map(Value::Integer);
    let truth = || value.parse().ok().map(Value::Boolean);
    number.or_else(truth).unwrap_or_else(|| Value::String(value.to_owned()))
}

/// What to write instead of a key that there is not.
fn nearest(leaf: &Command, key: &str) -> String {
    let known: Vec<&str> = options(leaf).map(|arg| arg.get_id().as_str()).collect();
    let likeness = |name: &&str| strsim::jaro_winkler(name, key);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) >= LIKENESS_MIN) {
        Some(best) => format!("is it `{best}`?"),
        None => format!("the keys are {}", known.join(", ")),
    }
}

fn is_configured(verb: &Command) -> bool {
    verb.get_arguments().any(|arg| arg.get_id() == "config")
}

/// What can be configured of a verb.
fn options(verb: &Command) -> impl Iterator<Item = &Arg> {
    let apart = |arg: &&Arg| !matches!(arg.get_id().as_str(), "config" | "print_config" | "help" | "version");
    verb.get_arguments().filter(|arg| arg.get_long().is_some()).filter(apart)
}

/// The words that name the verb: `log`, `dump`.
fn words(matches: &ArgMatches) -> Vec<String> {
    let below = |(word, _): (&str, &ArgMatches)| word.to_owned();
    let inner = std::iter::successors(Some(matches), |at| at.subcommand().map(|(_, inner)| inner));
    inner.filter_map(|at| at.subcommand().map(below)).collect()
}

/// What was given to the verb itself.
fn of_verb(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| of_verb(inner))
}

#[cfg(test)]
mod tests;
