//! Which versions of a twin an `If-Match` lets through (RFC 9110, section 13.1.1).

use actix_web::dev::Payload;
use actix_web::http::header::IF_MATCH;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};

use super::problem::Problem;

/// The entity tags that the caller has seen, of which one has to be the twin's; `None` where it asks for none.
///
/// A header that does not parse lets no version through: whoever meant to protect a change must not make it unprotected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IfMatch(pub(super) Option<Vec<String>>);

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut lines = request.headers().get_all(IF_MATCH).peekable();
        if lines.peek().is_none() {
            return ready(Ok(Self(None)));
        }
        let lines: Option<Vec<_>> = lines.map(|line| line.to_str().ok()).collect();
        ready(Ok(Self(Some(lines.map(|lines| parse(&lines.join(","))).unwrap_or_default()))))
    }
}

/// The tags that can match: weak ones never do, nor does anything in a text that is not a list of tags.
fn parse(text: &str) -> Vec<String> {
    if text.trim() == "*" {
        return vec!["*".into()];
    }
    tags(text).unwrap_or_default()
}

fn tags(text: &str) -> Option<Vec<String>> {
    let mut strong = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // RFC 9110 has lists with empty elements read.
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
            continue;
        }
        let (weak, opaque) = match rest.strip_prefix("W/") {
            Some(after) => (true, after),
            None => (false, rest),
        };
        let (tag, after) = opaque.strip_prefix('"')?.split_once('"')?;
        if tag.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        if !weak {
            strong.push(format!("\"{tag}\""));
        }
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
    Some(strong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, tags: &[&str]) {
        assert_eq!(parse(header), tags, "{header}");
    }

    #[test]
    fn each_strong_tag_of_a_list_may_match() {
        check(r#""1-2-3""#, &[r#""1-2-3""#]);
        check(r#" "a" ,, "b,c", "#, &[r#""a""#, r#""b,c""#]);
        check("*", &["*"]);
    }

    #[test]
    fn a_weak_tag_never_matches() {
        check(r#"W/"1-2-3""#, &[]);
        check(r#"W/"a", "b""#, &[r#""b""#]);
    }

    #[test]
    fn what_does_not_parse_matches_nothing() {
        for header in ["", "1-2-3", r#""a"#, r#""a" "b""#, r#""a", b"#, r#"w/"a""#, r#""a", *"#, "\"a b\""] {
            check(header, &[]);
        }
    }
}
