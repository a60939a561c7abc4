//! The one table of all routes: the server, the `Allow` of a 405 and the test of the document read it.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::guard;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig, to};
use actix_web::{HttpRequest, Route};

use super::problem::Problem;
use super::{
    access, audit, authorities, backup, certificates, cluster, commands, devices, following, groups, health,
    history, kinds, lifecycle, me, methods, metrics, openapi, people, policies, provision, replace, requests,
    tenants, tokens, twins,
};

/// Each path, with what it answers to. Every handler but those of health, of the document and of a device
/// that shows its activation key begins with a [`Caller`](super::caller::Caller).
pub(super) fn table() -> Vec<(&'static str, Vec<(Method, Route)>)> {
    const GET: Method = Method::GET;
    const PUT: Method = Method::PUT;
    const POST: Method = Method::POST;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    vec![
        ("/v1/devices", vec![(GET, to(devices::list)), (POST, to(devices::register_new))]),
        (
            "/v1/devices/{id}",
            vec![(GET, to(devices::get)), (PUT, to(devices::register)), (DELETE, to(devices::remove))],
        ),
        ("/v1/provision/activate", vec![(POST, to(provision::activate))]),
        ("/v1/devices/{id}/invite", vec![(POST, to(provision::invite))]),
        ("/v1/devices/{id}/activate", vec![(POST, to(provision::install))]),
        ("/v1/devices/{id}/rotate", vec![(POST, to(provision::rotate))]),
        ("/v1/devices/{id}/disable", vec![(POST, to(lifecycle::disable))]),
        ("/v1/devices/{id}/enable", vec![(POST, to(lifecycle::enable))]),
        ("/v1/devices/{id}/quarantine", vec![(POST, to(lifecycle::quarantine))]),
        ("/v1/devices/{id}/revoke", vec![(POST, to(lifecycle::revoke))]),
        ("/v1/devices/{id}/replace", vec![(POST, to(replace::replace))]),
        ("/v1/devices/{id}/certificates", vec![(POST, to(certificates::issue))]),
        ("/v1/certificates", vec![(GET, to(certificates::list))]),
        // Before all other twins: no device is called `me`.
        ("/v1/twins/me/telemetry", vec![(POST, to(me::speaking::telemetry))]),
        ("/v1/twins/me/telemetry/{channel}", vec![(POST, to(me::speaking::sample))]),
        ("/v1/twins/me/reported", vec![(PATCH, to(me::speaking::report))]),
        ("/v1/twins/me/desired", vec![(GET, to(me::desired::get))]),
        ("/v1/twins/me/commands", vec![(GET, to(me::commands::poll))]),
        ("/v1/twins/me/commands/{command}/{outcome}", vec![(POST, to(me::commands::answer))]),
        ("/v1/twins/me/credentials/renew", vec![(POST, to(me::credentials::renew))]),
        ("/v1/twins/{id}", vec![(GET, to(twins::get)), (PATCH, to(twins::update))]),
        ("/v1/twins/{id}/desired", vec![(PUT, to(twins::replace_desired))]),
        ("/v1/twins/{id}/commands", vec![(GET, to(commands::list)), (POST, to(commands::send))]),
        ("/v1/twins/{id}/commands/{command}", vec![(GET, to(commands::get)), (DELETE, to(commands::cancel))]),
        ("/v1/twins/{id}/commands/{command}/redrive", vec![(POST, to(commands::redrive))]),
        ("/v1/twins/{id}/requests/{name}", vec![(POST, to(requests::ask))]),
        ("/v1/twins/{id}/methods/{name}", vec![(POST, to(methods::call))]),
        ("/v1/twins/{id}/telemetry", vec![(GET, to(history::telemetry))]),
        ("/v1/twins/{id}/events", vec![(GET, to(history::of_twin))]),
        ("/v1/events", vec![(GET, to(history::of_all))]),
        ("/v1/events/stream", vec![(GET, to(following::follow))]),
        ("/v1/users", vec![(GET, to(people::users))]),
        (
            "/v1/users/{name}",
            vec![(GET, to(people::user)), (PUT, to(people::put_user)), (DELETE, to(people::remove_user))],
        ),
        ("/v1/services", vec![(GET, to(people::services))]),
        (
            "/v1/services/{name}",
            vec![
                (GET, to(people::service)),
                (PUT, to(people::put_service)),
                (DELETE, to(people::remove_service)),
            ],
        ),
        ("/v1/tokens", vec![(GET, to(tokens::list)), (POST, to(tokens::make))]),
        ("/v1/tokens/{id}", vec![(DELETE, to(tokens::remove))]),
        ("/v1/policies", vec![(GET, to(policies::list))]),
        (
            "/v1/policies/{name}",
            vec![(GET, to(policies::get)), (PUT, to(policies::put)), (DELETE, to(policies::remove))],
        ),
        ("/v1/authorities", vec![(GET, to(authorities::list)), (POST, to(authorities::make))]),
        ("/v1/authorities/{name}", vec![(GET, to(authorities::get)), (DELETE, to(authorities::remove))]),
        ("/v1/authorities/{name}/request", vec![(GET, to(authorities::request))]),
        ("/v1/authorities/{name}/certificates", vec![(PUT, to(authorities::bring))]),
        ("/v1/authorities/{name}/retire", vec![(POST, to(authorities::retire))]),
        ("/v1/enrolment-groups", vec![(GET, to(groups::list)), (POST, to(groups::make))]),
        (
            "/v1/enrolment-groups/{name}",
            vec![(GET, to(groups::get)), (PATCH, to(groups::change)), (DELETE, to(groups::remove))],
        ),
        ("/v1/enrolment-groups/{name}/keys", vec![(POST, to(groups::key))]),
        ("/v1/enrolment-groups/{name}/bar", vec![(POST, to(groups::bar))]),
        ("/v1/access/explain", vec![(POST, to(access::explain))]),
        ("/v1/tenants", vec![(GET, to(tenants::list)), (POST, to(tenants::make))]),
        (
            "/v1/tenants/{name}",
            vec![(GET, to(tenants::get)), (PATCH, to(tenants::change)), (DELETE, to(tenants::remove))],
        ),
        ("/v1/tenants/{name}/admins", vec![(POST, to(tenants::admit))]),
        ("/v1/audit", vec![(GET, to(audit::list))]),
        ("/v1/audit/head", vec![(GET, to(audit::head))]),
        ("/v1/cluster", vec![(GET, to(cluster::status))]),
        ("/v1/cluster/init", vec![(POST, to(cluster::init))]),
        ("/v1/cluster/tokens", vec![(POST, to(cluster::token))]),
        ("/v1/cluster/nodes/{node}/drain", vec![(POST, to(cluster::drain))]),
        ("/v1/cluster/nodes/{node}/remove", vec![(POST, to(cluster::remove))]),
        ("/v1/cluster/shards/{shard}/move", vec![(POST, to(cluster::move_replica))]),
        ("/v1/cluster/freeze", vec![(POST, to(cluster::freeze))]),
        ("/v1/backup", vec![(POST, to(backup::take))]),
        ("/v1/kinds", vec![(GET, to(kinds::list))]),
        ("/v1/kinds/{kind}", vec![(GET, to(kinds::get))]),
        ("/healthz", vec![(GET, to(health::alive))]),
        ("/readyz", vec![(GET, to(health::ready))]),
        ("/metrics", vec![(GET, to(metrics::metrics))]),
        ("/openapi.json", vec![(GET, to(openapi::document))]),
    ]
}

/// Registers all routes, and what answers where there is none.
pub(super) fn configure(config: &mut ServiceConfig) {
    for (path, methods) in table() {
        let allow: Vec<_> = methods.iter().flat_map(|(method, _)| answered(method)).collect();
        let allow = allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let mut resource = web::resource(path).default_service(to(move |request: HttpRequest| {
            let problem = Problem::no_method(request.method().as_str(), &allow);
            async move { Err::<String, _>(problem) }
        }));
        for (method, route) in methods {
            let answered = answered(&method);
            let guard = guard::fn_guard(move |context| answered.contains(&context.head().method));
            resource = resource.route(route.guard(guard));
        }
        config.service(resource);
    }
    config.default_service(to(|request: HttpRequest| async move {
        Err::<String, _>(Problem::no_route(request.path()))
    }));
}

/// Whether a path of this pattern answers to a method, as far as the table knows it. Where there is nothing, nothing does.
pub(super) fn answers(pattern: Option<&str>, method: &Method) -> bool {
    static KNOWN: LazyLock<HashMap<&'static str, Vec<Method>>> = LazyLock::new(|| {
        let methods = |routes: Vec<(Method, Route)>| routes.into_iter().map(|(method, _)| method).collect();
        table().into_iter().map(|(path, routes)| (path, methods(routes))).collect()
    });
    let Some(pattern) = pattern else { return false };
    KNOWN.get(pattern).is_none_or(|methods| methods.contains(method))
}

/// What a route for `method` answers: HEAD wherever GET is.
fn answered(method: &Method) -> Vec<Method> {
    match *method {
        Method::GET => vec![Method::GET, Method::HEAD],
        _ => vec![method.clone()],
    }
}
