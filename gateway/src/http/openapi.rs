//! The API's own description, made of the handlers' annotations.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, Content, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::once;
use super::problem::Details;
use super::{
    access, audit, authorities, backup, certificates, cluster, commands, devices, following, groups, health,
    history, kinds, lifecycle, me, methods, metrics, people, policies, provision, replace, requests, tenants,
    tokens, twins,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Twinfold",
        description = "Digital twins of devices: what they are, what they should become, and what happened to them.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        devices::list,
        devices::register,
        devices::register_new,
        provision::activate,
        provision::invite,
        provision::install,
        provision::rotate,
        devices::get,
        devices::remove,
        lifecycle::disable,
        lifecycle::enable,
        lifecycle::quarantine,
        lifecycle::revoke,
        replace::replace,
        certificates::issue,
        certificates::list,
        twins::get,
        twins::update,
        twins::replace_desired,
        commands::send,
        commands::list,
        commands::get,
        commands::cancel,
        commands::redrive,
        requests::ask,
        methods::call,
        history::telemetry,
        history::of_twin,
        history::of_all,
        following::follow,
        me::speaking::telemetry,
        me::speaking::sample,
        me::speaking::report,
        me::desired::get,
        me::commands::poll,
        me::commands::answer,
        me::credentials::renew,
        kinds::list,
        kinds::get,
        people::users,
        people::user,
        people::put_user,
        people::remove_user,
        people::services,
        people::service,
        people::put_service,
        people::remove_service,
        tokens::make,
        tokens::list,
        tokens::remove,
        policies::list,
        policies::get,
        policies::put,
        policies::remove,
        authorities::make,
        authorities::list,
        authorities::get,
        authorities::request,
        authorities::bring,
        authorities::retire,
        authorities::remove,
        groups::make,
        groups::list,
        groups::get,
        groups::key,
        groups::bar,
        groups::change,
        groups::remove,
        access::explain,
        tenants::make,
        tenants::list,
        tenants::get,
        tenants::change,
        tenants::remove,
        tenants::admit,
        audit::list,
        audit::head,
        cluster::status,
        cluster::init,
        cluster::token,
        cluster::drain,
        cluster::remove,
        cluster::move_replica,
        cluster::freeze,
        backup::take,
        health::alive,
        health::ready,
        metrics::metrics,
        document,
    ),
    components(schemas(Details)),
    security(("token" = [])),
    modifiers(&Common),
)]
struct Api;

/// What all operations have in common: how to say who one is, and how a failure looks.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token of a person or a service. A node in `dev` asks for none."))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let device = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some(
                "A device's id and its key; or `Bearer twt_...`, a token that the key signed; or nothing, where the connection came with the device's certificate. A node in `dev` ignores the key.",
            ))
            .build();
        components.add_security_scheme("device", SecurityScheme::Http(device));
        for item in api.paths.paths.values_mut() {
            let changes = [&mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            // Twins keep what applications change of them; a request to a device is not kept, and a new id is always one.
            let is_kept = |operation: &&mut openapi::path::Operation| {
                let tag = operation.tags.iter().flatten().next().map_or("", String::as_str);
                matches!(tag, "devices" | "twins" | "commands")
                    && operation
                        .operation_id
                        .as_deref()
                        .is_none_or(|name| !matches!(name, "ask" | "register_new" | "replace"))
            };
            for operation in changes.into_iter().flatten().filter(is_kept) {
                operation.parameters.get_or_insert_default().push(once::parameter());
            }
            let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in methods.into_iter().flatten() {
                // Handlers are named within their modules, operations within the whole document.
                let tag = operation.tags.iter().flatten().next().map_or("", String::as_str);
                operation.operation_id = operation.operation_id.take().map(|name| format!("{tag}_{name}"));
                let responses = &mut operation.responses.responses;
                let failed = ResponseBuilder::new().description("It failed otherwise: see `code`.");
                responses.insert("default".into(), RefOr::T(failed.build()));
                for (status, response) in responses {
                    if let (Some(b'd' | b'4' | b'5'), RefOr::T(response)) = (status.bytes().next(), response)
                    {
                        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
                        response.content.insert("application/problem+json".into(), problem.into());
                    }
                }
            }
        }
    }
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| Api::openapi().to_json().expect("the description is made of plain data"));

/// Describes the API.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "health",
    security(()),
    responses((status = 200, description = "This document.", body = Object))
)]
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::super::routes;
    use super::*;

    fn described() -> Value {
        serde_json::from_str(&DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let routes: BTreeSet<_> = routes::table()
            .into_iter()
            .flat_map(|(path, methods)| {
                methods.into_iter().map(move |(method, _)| format!("{method} {path}"))
            })
            .collect();

        let document = described();
        let paths = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<_> = paths
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (path, method)))
            .map(|(path, method)| format!("{} {path}", method.to_uppercase()))
            .collect();

        assert_eq!(described, routes);
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = described();
        let mut references = Vec::new();
        collect(&document, &mut references);

        assert!(references.len() > 20);
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn no_two_types_are_described_under_one_name() {
        let mut names = Vec::new();
        named_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut names);
        names.sort();

        // The later one would take the place of the other, wherever that is meant.
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(names.len() > 30 && twice.is_empty(), "give one of each `#[schema(as = ..)]`: {twice:?}");
    }

    /// The names of all schemas that are derived in the files of a folder.
    fn named_below(folder: &Path, names: &mut Vec<String>) {
        let (derives, named) = (concat!("derive", "("), concat!("schema(", "as = "));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named_below(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for derived in text
                .split(derives)
                .skip(1)
                .filter(|rest| rest.split(')').next().is_some_and(|traits| traits.contains("ToSchema")))
            {
                let word = |rest: &str| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
                let declared = ["struct ", "enum "].iter().filter_map(|kind| derived.split_once(kind));
                let (before, rest) = declared.min_by_key(|(before, _)| before.len()).expect("a type");
                names.push(before.split_once(named).map_or_else(|| word(rest), |(_, name)| word(name)));
            }
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| collect(value, references));
            }
            Value::Array(elements) => elements.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = described();
        let paths = document["paths"].as_object().unwrap().values();
        let operations: Vec<_> = paths.flat_map(|item| item.as_object().unwrap().values()).collect();

        let names: BTreeSet<_> =
            operations.iter().map(|operation| operation["operationId"].as_str()).collect();

        assert_eq!(names.len(), operations.len(), "{names:?}");
        assert!(names.contains(&Some("devices_register")), "{names:?}");
    }

    #[test]
    fn the_document_speaks_of_twinfold() {
        let info = &described()["info"];
        assert_eq!(
            (&info["title"], &info["version"]),
            (&"Twinfold".into(), &env!("CARGO_PKG_VERSION").into())
        );
        assert_eq!(info["license"]["name"], "MIT OR Apache-2.0");
    }
}
