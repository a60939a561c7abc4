//! Names in code: whether a line names a thing, or a crate.

/// Whether a name stands in the code as a whole word.
pub fn names(code: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(is_word) && !code[at + name.len()..].starts_with(is_word))
}

/// Whether the code names a crate, as the first part of a path: `fjall::Database`, `::fjall::Error`, `use fjall as`.
/// A module of ours of the same name has `crate`, `super` or its parent before it.
pub fn uses_crate(code: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let is_first = match before.strip_suffix("::") {
            Some(parent) => !parent.ends_with(|character| is_word(character) || character == '>'),
            None => !before.ends_with(is_word),
        };
        let is_path =
            after.starts_with("::") || (before.trim_end().ends_with("use") && !after.starts_with(is_word));
        is_first && is_path
    })
}

#[test]
fn a_crate_is_told_from_a_module_of_the_same_name() {
    for code in [
        "use fjall::Database;",
        "    ::fjall::Error",
        "use ::fjall::{A}",
        "x(fjall::open())",
        "use fjall as f;",
    ] {
        assert!(uses_crate(code, "fjall"), "{code}");
    }
    for code in
        ["use runtime::store::fjall::Fjall;", "pub mod fjall;", "use super::fjall;", "my_fjall::open()"]
    {
        assert!(!uses_crate(code, "fjall"), "{code}");
    }
}
