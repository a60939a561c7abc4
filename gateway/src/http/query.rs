//! The parameters of a query, as a type; what is wrong with them is said by name.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The query as a type that refuses unknown parameters: a misspelled one would silently select everything.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read(request.query_string()).map(Self))
    }
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let name = error.path().to_string();
        match error.inner() {
            inner if name == "." => Problem::parameter(inner.to_string()),
            inner => Problem::parameter(format!("parameter `{name}`: {inner}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use twins::time::Timestamp;

    use super::super::page::Limit;
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Shape {
        limit: Limit,
        to: Option<Timestamp>,
    }

    #[track_caller]
    fn check(query: &str, problem: &str) {
        let refused = read::<Shape>(query).unwrap_err().to_string();
        assert!(refused.starts_with(problem), "{refused}");
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        check("limit=many", "bad-parameter: parameter `limit`: invalid digit found in string");
        check("limit=0", "bad-parameter: parameter `limit`: it must be 1 to 1000");
        check("to=now", "bad-parameter: parameter `to`: `now` is not a time; write RFC 3339");
        check(
            "chanel=a",
            "bad-parameter: parameter `chanel`: unknown field `chanel`, expected `limit` or `to`",
        );
        check("limit=1&limit=2", "bad-parameter: duplicate field `limit`");
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let shape = read::<Shape>("").unwrap();
        assert_eq!((shape.limit.get(), shape.to), (100, None));
    }
}
