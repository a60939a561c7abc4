//! The server: its start and its end, and the steps around every request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::PathConfig;
use actix_web::{App, Error, HttpServer};
use runtime::directory::Definitions;
use runtime::router::Router;
use tokio::task::JoinHandle;

use crate::descriptors::Shares;
use crate::door::{Door, Shut};
use crate::peer;
use crate::quotas::Quotas;
use crate::tls;
use crate::trust::provisioning::Provisioning;

use super::body::Allowance;
use super::following::Followers;
use super::guard::{self, LoopbackOnly};
use super::health::{Asked, Watch};
use super::me::Certificates;
use super::metrics;
use super::options::Options;
use super::problem::Problem;
use super::routes;

/// A running server. Dropping it lets it run on; [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct Server {
    local_addrs: Vec<SocketAddr>,
    handle: ServerHandle,
    followers: Followers,
    serving: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Listens, and serves until it is stopped. To be called within a tokio runtime; the workers are threads of their
    /// own.
    ///
    /// # Errors
    /// When an address cannot be listened on, or is not loopback though `loopback_only` is set; nothing listens then.
    pub fn start(
        options: Options,
        doors: &[Door],
        router: Router,
        definitions: Arc<dyn Definitions>,
        provisioning: Provisioning,
        quotas: Quotas,
        watch: Watch,
    ) -> Result<Self, Shut> {
        if let Some(open) =
            doors.iter().find(|door| options.loopback_only && !door.address.ip().is_loopback())
        {
            let why = "it is not loopback; without credentials only 127.0.0.1 or [::1] is served";
            return Err(open.shut(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let workers = options.workers.get();
        let connections_max = options.connections_max.get().min(Shares::claim().http);
        let steps = options.clone();
        let followers = Followers::new(&options);
        let (seats, vanished) = (followers.clone(), options.stall_timeout * 2);
        let server = HttpServer::new(move || {
            let watch = watch.clone();
            app(steps.clone())
                .app_data(router.clone())
                .app_data(seats.clone())
                .app_data(definitions.clone())
                .app_data(provisioning.clone())
                .app_data(quotas.clone())
                .app_data(watch.metrics)
                .app_data(watch.registry)
                .app_data(watch.operations)
                .app_data(Asked(watch.unready))
        })
        .on_connect(move |connection, data| {
            let secured = connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref());
            if let Some((_, agreed)) = secured {
                data.insert(Certificates(tls::certificates(agreed)));
            }
            let plain = connection.downcast_ref::<TcpStream>();
            let Some(stream) = plain.or(secured.map(|(stream, _)| stream)) else { return };
            if let Err(error) = peer::look_after(stream, vanished) {
                tracing::debug!(%error, "the system does not look after a connection");
            }
        });
        let mut server = server
            // Who has gone does not wait for an answer: what waits in its name ends with it.
            .h1_allow_half_closed(false)
            .workers(workers)
            .max_connections(connections_max.div_ceil(workers))
            .client_request_timeout(options.request_timeout)
            .tls_handshake_timeout(options.request_timeout)
            .keep_alive(options.keep_alive)
            .shutdown_timeout(options.stop_timeout.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX))
            .disable_signals();
        for door in doors {
            server = match &door.tls {
                None => server.bind(door.address),
                Some(tls) => server.bind_rustls_0_23(door.address, tls.http()),
            }
            .map_err(|why| door.shut(why))?;
        }
        let local_addrs = server.addrs();
        let running = server.run();
        let handle = running.handle();
        Ok(Self { local_addrs, handle, followers, serving: tokio::spawn(running) })
    }

    /// Where it listens, in the order of its doors.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Accepts no more, ends the streams of events and the calls that wait, lets the requests that are there end, and
    /// returns when all have, or when their time is up.
    ///
    /// # Errors
    /// When the server had ended with an error before.
    pub async fn stop(self) -> io::Result<()> {
        self.followers.stop();
        self.handle.stop(true).await;
        self.serving.await.map_err(io::Error::other)?
    }
}

type Answer = ServiceResponse<BoxBody>;

/// The API, but for the router: without one only what needs no caller answers.
fn app(
    options: Options,
) -> App<impl ServiceFactory<ServiceRequest, Config = (), Response = Answer, Error = Error, InitError = ()>> {
    let allowance = Allowance { bytes: options.payload_bytes, time: options.request_timeout };
    App::new()
        .app_data(LoopbackOnly(options.loopback_only))
        .app_data(allowance)
        .app_data(allowance.config())
        .app_data(
            PathConfig::default().error_handler(|error, _| Problem::parameter(error.to_string()).into()),
        )
        .configure(routes::configure)
        .wrap(from_fn(guard::pass))
        .wrap(from_fn(metrics::measure))
        .wrap(always(options.loopback_only))
}

/// What every answer says to browsers and caches: nothing here is a page, and nothing is to be kept.
fn always(loopback_only: bool) -> DefaultHeaders {
    let all = DefaultHeaders::new()
        .add((CACHE_CONTROL, "no-store"))
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .add((REFERRER_POLICY, "no-referrer"));
    match loopback_only {
        true => all,
        // Two years. Browsers ignore it where it comes in plain text.
        false => all.add((STRICT_TRANSPORT_SECURITY, "max-age=63072000")),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ALLOW, CONTENT_TYPE, HOST};
    use actix_web::http::{Method, StatusCode};
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use actix_web::web;
    use serde_json::Value;

    use super::super::body::Body;
    use super::*;

    /// Answers to `request` are problems of that status and code.
    async fn check(request: TestRequest, status: StatusCode, code: &str) -> Value {
        let options = Options { payload_bytes: 16, ..Options::default() };
        let echo = web::post().to(|Body(json): Body<twins::json::Json>| async move { json.to_string() });
        let service = init_service(app(options).route("/echo", echo)).await;

        let answer = call_service(&service, request.insert_header((HOST, "localhost")).to_request()).await;

        let allow = answer.headers().get(ALLOW).map(|allow| allow.to_str().unwrap().to_owned());
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().get(CONTENT_TYPE).unwrap(), "application/problem+json");
        assert_eq!(answer.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        let mut problem: Value = read_body_json(answer).await;
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.as_u16().into()));
        assert!(problem["next"].is_string());
        problem["allow"] = allow.into();
        problem
    }

    fn json(method: Method, path: &str) -> TestRequest {
        TestRequest::with_uri(path).method(method).insert_header((CONTENT_TYPE, "application/json"))
    }

    #[actix_web::test]
    async fn a_path_that_leads_nowhere_is_a_problem() {
        let problem = check(TestRequest::with_uri("/v1/nothing"), StatusCode::NOT_FOUND, "not-found").await;
        assert_eq!(problem["detail"], "there is nothing at /v1/nothing");
    }

    #[actix_web::test]
    async fn a_path_that_is_written_in_another_way_is_guarded_as_the_same() {
        for path in ["/v1/devices/a", "/v1/dev%69ces/a"] {
            let put =
                TestRequest::with_uri(path).method(Method::PUT).insert_header((CONTENT_TYPE, "text/plain"));
            check(put, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type").await;
        }
    }

    #[actix_web::test]
    async fn a_method_that_a_path_does_not_know_is_a_problem_that_names_those_it_does() {
        let post = json(Method::POST, "/v1/devices/a");
        let problem = check(post, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed").await;
        assert_eq!(problem["allow"], "GET, HEAD, PUT, DELETE");
    }

    #[actix_web::test]
    async fn what_leads_nowhere_is_told_so_whatever_it_says_that_its_body_is() {
        for (path, status, code) in [
            ("/v1/nothing", StatusCode::NOT_FOUND, "not-found"),
            ("/v1/devices", StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            ("/v1/twins/me/telemetry", StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
        ] {
            for request in [TestRequest::put(), TestRequest::patch()] {
                check(request.uri(path), status, code).await;
            }
        }
    }

    #[actix_web::test]
    async fn a_body_of_another_type_is_a_problem() {
        let put = TestRequest::put().uri("/v1/devices/a").insert_header((CONTENT_TYPE, "text/plain"));
        check(put, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type").await;
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_a_problem() {
        let large = json(Method::POST, "/echo").set_payload("[1,2,3,4,5,6,7,8]");
        let problem = check(large, StatusCode::PAYLOAD_TOO_LARGE, "too-large").await;
        assert_eq!(problem["detail"], "the body is larger than the limit of 16 bytes");
    }

    #[actix_web::test]
    async fn a_body_that_is_no_json_is_a_problem() {
        let bad = json(Method::POST, "/echo").set_payload("{]");
        let problem = check(bad, StatusCode::BAD_REQUEST, "malformed").await;
        assert!(problem["detail"].as_str().unwrap().starts_with("JSON is malformed at byte 1"), "{problem}");
    }

    #[actix_web::test]
    async fn head_is_answered_where_get_is() {
        let service = init_service(app(Options::default())).await;
        let head = TestRequest::with_uri("/healthz").method(Method::HEAD).insert_header((HOST, "localhost"));
        assert_eq!(call_service(&service, head.to_request()).await.status(), StatusCode::OK);
    }
}
