//! The configuration: each flag has a variable of the environment and a key in a file, by one rule over the grammar.
//!
//! `--checkpoint-bytes` is `TWINFOLD_CHECKPOINT_BYTES` and the key `checkpoint_bytes`. The flags of a node itself, and
//! those that mean the same at every verb, are called so; those of the other verbs stand under their noun:
//! `TWINFOLD_BENCH_SECONDS`, and `seconds` in the table `[bench]`. What the file says becomes the default of the flag, so
//! that there is one grammar, one place for each limit, and one order: flags, environment, file, defaults. One file is
//! for all verbs, and whichever reads it checks all of it; a key that is no flag is refused.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use toml::Value;
use toml::de::{DeTable, DeValue};

/// The verbs whose flags are those of a node: they stand under no noun.
const OF_A_NODE: [&str; 3] = ["dev", "serve", "restore"];
/// The flags that mean the same at every verb.
const OF_ALL: [&str; 4] = ["url", "token", "ca", "json"];
/// Below this likeness (Jaro-Winkler, 0 to 1) a key is not taken for a misspelled one.
const LIKENESS_MIN: f64 = 0.75;

/// The flags that say where the configuration is. They are no part of it.
#[derive(Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Configured {
    /// A file (TOML) for what is neither a flag nor in the environment; its keys are the flags, with _ for -
    #[arg(long, global = true, env = "TWINFOLD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration that flags, environment and file lead to, and end
    #[arg(long, global = true)]
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
    #[error("{why}\nnext: see how it is written: {words} --help")]
    Misspelled { why: String, words: String },
    /// Help and version, which are errors to the parser.
    #[error(transparent)]
    Help(clap::Error),
}

/// What a flag is called outside the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// The noun that it stands under.
    table: Option<String>,
    key: String,
}

/// A flag of a verb.
struct Flag<'a> {
    name: Name,
    arg: &'a Arg,
    verb: &'a Command,
    /// The words of the verb, as they are typed.
    words: String,
}

/// A key of the file, its values as a flag would have them, and its line.
struct Key {
    name: Name,
    values: Vec<String>,
    line: usize,
}

/// What the words of a command line lead to.
pub(super) struct Resolved {
    pub(super) matches: ArgMatches,
    /// The configuration, where it is to be printed and nothing else done.
    pub(super) printed: Option<String>,
}

impl Error {
    /// Why the parser did not take a line whose verb is `words`.
    pub(super) fn of(error: clap::Error, words: &str) -> Self {
        if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::Help(error);
        }
        let text = error.render().to_string();
        let text = text.split("\n\nFor more information").next().unwrap_or(&text).trim_end();
        Self::Misspelled {
            why: text.strip_prefix("error: ").unwrap_or(text).to_owned(),
            words: words.to_owned(),
        }
    }
}

impl Name {
    /// That of a flag of a verb under `noun`; what has no long form is no flag.
    fn of(noun: &str, arg: &Arg) -> Option<Self> {
        let key = arg.get_long()?.replace('-', "_");
        let alone = OF_A_NODE.contains(&noun) || OF_ALL.contains(&key.as_str());
        Some(Self { table: (!alone).then(|| noun.to_owned()), key })
    }

    fn variable(&self) -> String {
        format!("TWINFOLD_{self}").replace('.', "_").to_uppercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "{table}.{}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// The grammar, with a variable of the environment for each flag of each verb.
pub(super) fn with_environment(grammar: Command) -> Command {
    fn named(verb: Command, noun: &str) -> Command {
        let verb = verb.mut_args(|arg| match Name::of(noun, &arg) {
            Some(name) if is_switch(&arg) => arg.env(name.variable()).value_parser(BoolishValueParser::new()),
            Some(name) => arg.env(name.variable()),
            None => arg,
        });
        verb.mut_subcommands(|below| named(below, noun))
    }
    grammar.mut_subcommands(|noun| {
        let name = noun.get_name().to_owned();
        named(noun, &name)
    })
}

/// Parses a command line, with what the configuration file says.
pub(super) fn resolve(grammar: Command, line: &[OsString]) -> Result<Resolved, Error> {
    // Whoever wants help gets it, whatever the file is.
    if let Some(help) = grammar.clone().try_get_matches_from(line).err().filter(|error| !error.use_stderr()) {
        return Err(Error::Help(help));
    }
    // What is missing may be in the file, which has to be found first.
    let found = grammar.clone().ignore_errors(true).try_get_matches_from(line).map_err(Error::Help)?;
    let verb = words(&found);
    let words = ["twinfold"].into_iter().chain(verb.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let file = of_verb(&found).get_one::<PathBuf>("config").cloned();
    let flags = flags(&grammar);
    let keys = match &file {
        None => Vec::new(),
        Some(file) => read(file, &flags)?,
    };
    let matches = with_defaults(grammar.clone(), &verb, &keys).try_get_matches_from(line);
    let matches = matches.map_err(|error| Error::of(error, &words))?;
    let given = of_verb(&matches);
    let printed = given.get_flag("print_config").then(|| {
        let of_verb = flags.iter().filter(|flag| flag.words == words);
        print(&words, of_verb, given, file.as_deref().unwrap_or(Path::new("")), &keys)
    });
    Ok(Resolved { matches, printed })
}

/// The flags of all verbs, in the order of the grammar.
fn flags(grammar: &Command) -> Vec<Flag<'_>> {
    fn gather<'a>(verb: &'a Command, noun: &str, before: &str, flags: &mut Vec<Flag<'a>>) {
        let words = format!("{before} {}", verb.get_name());
        for arg in verb.get_arguments() {
            if let Some(name) = Name::of(noun, arg) {
                flags.push(Flag { name, arg, verb, words: words.clone() });
            }
        }
        verb.get_subcommands().for_each(|below| gather(below, noun, &words, flags));
    }
    let mut flags = Vec::new();
    grammar.get_subcommands().for_each(|noun| gather(noun, noun.get_name(), "twinfold", &mut flags));
    flags
}

/// Reads the file and checks each key, also those of other verbs and those that a flag or the environment goes before.
fn read(file: &Path, flags: &[Flag<'_>]) -> Result<Vec<Key>, Error> {
    let unreadable = |why| Error::Unreadable { file: file.to_owned(), why };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let content = DeTable::parse(&text).map_err(|error| Error::Malformed {
        file: file.to_owned(),
        line: error.span().map_or(1, |span| line_of(span.start)),
        why: error.message().to_owned(),
    })?;
    let mut keys = Vec::new();
    let mut take = |table: Option<&str>, at: usize, key: &str, value: &DeValue<'_>| {
        let (line, name) = (line_of(at), Name { table: table.map(str::to_owned), key: key.to_owned() });
        let mut same = flags.iter().filter(|flag| flag.name == name).peekable();
        let Some(first) = same.peek() else {
            let next = nearest(flags, &name);
            return Err(Error::UnknownKey { file: file.to_owned(), line, key: name.to_string(), next });
        };
        let (arg, verb) = (first.arg, first.words.clone());
        let values = values(arg, value).and_then(|values| {
            let refused = same.find_map(|flag| values.iter().find_map(|value| refusal(flag, value)));
            refused.map_or(Ok(values), Err)
        });
        let unfit = |why| Error::Unfit {
            file: file.to_owned(),
            line,
            key: name.to_string(),
            why,
            verb: verb.clone(),
        };
        keys.push(Key { values: values.map_err(unfit)?, name, line });
        Ok(())
    };
    for (word, value) in content.get_ref() {
        let (at, word) = (word.span().start, word.get_ref());
        match value.get_ref() {
            DeValue::Table(table) if is_table(flags, word) => {
                for (key, value) in table {
                    take(Some(word), key.span().start, key.get_ref(), value.get_ref())?;
                }
            }
            value => take(None, at, word, value)?,
        }
    }
    Ok(keys)
}

/// The values of a key as a flag would have them, or why they do not fit.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::Boolean(is_set) => Ok(is_set.to_string()),
        _ if is_switch(arg) => Err("it is true or false".to_owned()),
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| error.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        _ => Err("it is one text or one number".to_owned()),
    };
    match value {
        DeValue::Array(items) if is_list(arg) => items.iter().map(|item| one(item.get_ref())).collect(),
        value => one(value).map(|value| vec![value]),
    }
}

/// Why a flag does not take this value.
fn refusal(flag: &Flag<'_>, value: &str) -> Option<String> {
    if is_switch(flag.arg) {
        return None;
    }
    let verb = flag.verb.clone().mut_args(|arg| arg.env(Resettable::Reset));
    let given = format!("--{}={value}", flag.arg.get_long().unwrap_or_default());
    let error = verb.try_get_matches_from([flag.words.clone(), given]).err()?;
    // Other errors are of the rest of the line, which is not the file's.
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let why = std::error::Error::source(&error).map(ToString::to_string);
    Some(why.unwrap_or_else(|| format!("{value:?} is none of those it may be")))
}

/// The grammar with the file's values as the defaults of a verb.
fn with_defaults(grammar: Command, verb: &[String], keys: &[Key]) -> Command {
    fn below(command: Command, noun: &str, verb: &[String], keys: &[Key]) -> Command {
        let Some((word, rest)) = verb.split_first() else { return defaulted(command, noun, keys) };
        command.mut_subcommand(word, |inner| below(inner, noun, rest, keys))
    }
    match verb.split_first() {
        Some((noun, rest)) => grammar.mut_subcommand(noun, |inner| below(inner, noun, rest, keys)),
        None => grammar,
    }
}

fn defaulted(mut verb: Command, noun: &str, keys: &[Key]) -> Command {
    for key in keys.iter().filter(|key| !key.values.is_empty()) {
        let is_its = |arg: &&Arg| Name::of(noun, arg).as_ref() == Some(&key.name);
        let id = verb.get_arguments().find(is_its).map(|arg| arg.get_id().clone());
        let Some(id) = id else { continue };
        let is_part = |group: &&clap::ArgGroup| group.get_args().any(|part| *part == id);
        let groups: Vec<_> = verb.get_groups().filter(is_part).map(|group| group.get_id().clone()).collect();
        verb = verb.mut_arg(id, |arg| arg.required(false).default_values(key.values.clone()));
        for group in groups {
            verb = verb.mut_group(group, |group| group.required(false));
        }
    }
    verb
}

/// The effective configuration of a verb as TOML, each key with where its value is from. Never a secret.
fn print<'a>(
    words: &str,
    flags: impl Iterator<Item = &'a Flag<'a>>,
    given: &ArgMatches,
    file: &Path,
    keys: &[Key],
) -> String {
    let mut printed = format!("# {words}\n");
    let (alone, below): (Vec<_>, Vec<_>) = flags.partition(|flag| flag.name.table.is_none());
    let mut table = None;
    for Flag { name, arg, .. } in alone.into_iter().chain(below) {
        if name.table != table {
            table.clone_from(&name.table);
            let line = writeln!(printed, "\n[{}]", name.table.as_deref().unwrap_or_default());
            line.expect("writing to a string does not fail");
        }
        let (id, flag) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
        let key = keys.iter().find(|key| key.name == *name);
        let from = match (given.value_source(id), key) {
            (Some(ValueSource::CommandLine), _) => format!("flag --{flag}"),
            (Some(ValueSource::EnvVariable), _) => format!("environment {}", name.variable()),
            (_, Some(key)) => format!("{}:{}", file.display(), key.line),
            _ => "default".to_owned(),
        };
        let values = given.get_raw(id).into_iter().flatten();
        let mut values: Vec<_> = match is_switch(arg) {
            // In the environment it has many words, in a file two.
            true => vec![Value::Boolean(given.get_flag(id))],
            false => values.map(|raw| literal(&raw.to_string_lossy())).collect(),
        };
        let key = &name.key;
        let line = match values.len() {
            0 => writeln!(printed, "# {key} is not set"),
            _ if arg.is_hide_env_values_set() => writeln!(printed, "# {key} is a secret, from {from}"),
            1 => writeln!(printed, "{key} = {}  # {from}", values.remove(0)),
            _ => writeln!(printed, "{key} = {}  # {from}", Value::Array(values)),
        };
        line.expect("writing to a string does not fail");
    }
    printed
}

fn literal(value: &str) -> Value {
    value.parse().map_or_else(|_| Value::String(value.to_owned()), Value::Integer)
}

/// What to write instead of a key that there is not.
fn nearest(flags: &[Flag<'_>], missing: &Name) -> String {
    let mut known: Vec<&str> = Vec::new();
    for flag in flags.iter().filter(|flag| flag.name.table == missing.table) {
        if !known.contains(&flag.name.key.as_str()) {
            known.push(&flag.name.key);
        }
    }
    let likeness = |name: &&str| strsim::jaro_winkler(name, &missing.key);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match (best.filter(|best| likeness(best) >= LIKENESS_MIN), &missing.table) {
        (Some(best), _) => format!("is it `{best}`?"),
        (None, Some(table)) => format!("the keys of [{table}] are {}", known.join(", ")),
        (None, None) => format!("the keys are {}", known.join(", ")),
    }
}

fn is_table(flags: &[Flag<'_>], word: &str) -> bool {
    flags.iter().any(|flag| flag.name.table.as_deref() == Some(word))
}

/// Whether a flag is there or not, and takes no value.
fn is_switch(arg: &Arg) -> bool {
    !arg.get_action().takes_values()
}

/// Whether a flag may be given several times.
fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
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
