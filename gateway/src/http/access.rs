//! Why somebody may do something, or may not: the same decision that is made for each call, with its reasons.

use actix_web::HttpResponse;
use runtime::access::{Identity, Verb};
use runtime::directory::{Because, Refused, Roles, Who};
use serde::{Deserialize, Serialize};
use twins::id::TwinId;
use utoipa::ToSchema;

use super::body::Object;
use super::caller::Caller;
use super::names::{RoleName, VerbName, named, roles};
use super::problem::Problem;

/// The longest path that is asked about.
const PATH_BYTES_MAX: usize = 4_096;

/// The question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `verb`, `device` and more")]
pub(super) struct Question {
    /// Who: a user or a service; else the caller.
    who: Option<String>,
    /// With a token that is limited to these roles; else with one that is not.
    #[schema(value_type = Option<Vec<String>>)]
    roles: Option<Vec<RoleName>>,
    /// What: `read`, `write`, `control`, `register`, `activate`, `secure`.
    #[schema(value_type = String)]
    verb: VerbName,
    /// To which device, whether there is one or not.
    device: String,
    /// To which part: `desired/heating`, `commands/open`, of at most 4 KiB; else to the twin itself.
    #[serde(default)]
    path: String,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(super) struct Answer {
    allowed: bool,
    /// What led to it: of a refusal all that stands against it, else all that allows it.
    because: Vec<Reason>,
}

/// A reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationReason)]
pub(super) struct Reason {
    /// `policy`, `role`, `scope`, `absent`, `nothing`.
    r#type: &'static str,
    /// The policy's name, or the role's.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// In words.
    text: String,
}

impl From<&Because> for Reason {
    fn from(because: &Because) -> Self {
        let (r#type, name) = match because {
            Because::Absent => ("absent", None),
            Because::Foreign | Because::Nothing => ("nothing", None),
            Because::Scope => ("scope", None),
            Because::Policy { name, .. } => ("policy", Some(name.to_string())),
            Because::Role(role) => ("role", Some(role.as_str().to_owned())),
        };
        Self { r#type, name, text: because.to_string() }
    }
}

/// Says whether somebody may do something, and why.
///
/// Everybody may ask about themselves; about others, who may read the audit.
#[utoipa::path(
    post,
    path = "/v1/access/explain",
    tag = "policies",
    request_body = Question,
    responses(
        (status = 200, description = "The verdict and what led to it.", body = Answer),
        (status = 403, description = "`forbidden`: it is about somebody else"),
    )
)]
pub(super) async fn explain(
    caller: Caller,
    Object(question): Object<Question>,
) -> Result<HttpResponse, Problem> {
    let Question { who, roles: limited, verb: VerbName(verb), device, path } = question;
    let twin =
        TwinId::new(caller.tenant(), &device).map_err(|error| Problem::parameter(error.to_string()))?;
    let path = path.trim_matches('/');
    if path.len() > PATH_BYTES_MAX {
        let why = format!("`path` has {} bytes, and at most {PATH_BYTES_MAX}", path.len());
        return Err(Refused::Unfit(why).into());
    }
    let who = who.map(|who| named("`who`", &who)).transpose()?;
    let own = match caller.identity() {
        Identity::User { name, token, .. } => Some((name, *token)),
        Identity::Device { .. } => None,
    };
    let directory = match (&who, own) {
        (None, Some(_)) => caller.directory()?,
        (Some(who), Some((name, _))) if who == name => caller.directory()?,
        _ => caller.govern(Verb::Audit)?.directory(),
    };
    let shown = own.and_then(|(_, token)| directory.tokens.get(&token?)).and_then(|token| token.scope);
    let limited = limited.as_deref().map(roles);
    let scope: Option<Roles> = if who.is_none() { limited.or(shown) } else { limited };
    let Some(name) = who.as_ref().or(own.map(|(name, _)| name)) else {
        return Err(Problem::parameter("`who`: say who is meant"));
    };
    let verdict = match verb {
        Verb::Administer | Verb::Audit => {
            directory.governs(Who { tenant: caller.tenant(), name, scope }, verb)
        }
        verb => directory.verdict(Who { tenant: caller.tenant(), name, scope }, verb, &twin, path),
    };
    let because = verdict.because.iter().map(Reason::from).collect();
    Ok(HttpResponse::Ok().json(Answer { allowed: verdict.allowed, because }))
}
