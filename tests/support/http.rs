//! The API as a test sees it.

use std::net::SocketAddr;

use serde_json::Value;

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Api {
    agent: ureq::Agent,
    base: String,
}

impl Api {
    pub fn of(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(10)))
            .build();
        Self { agent: config.into(), base: format!("http://{address}/v1") }
    }

    /// As whoever shows this token.
    pub fn with_token(address: SocketAddr, token: &str) -> Self {
        let shown = format!("Bearer {token}");
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(30)))
            .middleware(
                move |mut request: ureq::http::Request<ureq::SendBody<'_>>,
                      next: ureq::middleware::MiddlewareNext<'_>| {
                    let shown = shown.parse().expect("a token is plain text");
                    request.headers_mut().insert("authorization", shown);
                    next.handle(request)
                },
            )
            .build();
        Self { agent: config.into(), base: format!("http://{address}/v1") }
    }

    /// The status of something beside the API.
    pub fn beside(&self, path: &str) -> Option<u16> {
        let base = self.base.trim_end_matches("/v1");
        self.agent.get(format!("{base}{path}")).call().ok().map(|response| response.status().as_u16())
    }

    /// Opens a stream that is read to its end; `None` when it is not a success.
    pub fn open(&self, path: &str) -> Option<impl std::io::Read + Send + use<>> {
        let response = self.agent.get(format!("{}{path}", self.base)).call().ok()?;
        response.status().is_success().then(|| response.into_body().into_reader())
    }

    /// A PUT that is made for one version.
    pub fn put_if(&self, path: &str, etag: &str, body: &Value) -> Option<(u16, Value)> {
        answer(self.agent.put(format!("{}{path}", self.base)).header("If-Match", etag).send_json(body))
    }

    /// As a device that speaks HTTP: its own calls, with its id and a key.
    pub fn of_device(address: SocketAddr, id: &str) -> Self {
        Self::of_device_with(address, id, "key")
    }

    /// The same with a key of its own.
    pub fn of_device_with(address: SocketAddr, id: &str, key: &str) -> Self {
        Self { base: format!("http://{id}:{key}@{address}/v1/twins/me"), ..Self::of(address) }
    }

    /// Posts bytes that are said to be of some type.
    pub fn post_bytes(&self, path: &str, content_type: &str, body: &[u8]) -> Option<(u16, Value)> {
        let request = self.agent.post(format!("{}{path}", self.base)).content_type(content_type);
        answer(request.send(body))
    }

    /// Posts nothing.
    pub fn post_empty(&self, path: &str) -> Option<(u16, Value)> {
        answer(self.agent.post(format!("{}{path}", self.base)).send_empty())
    }

    /// The status and the body; `None` when nobody answered.
    pub fn get(&self, path: &str) -> Option<(u16, Value)> {
        answer(self.agent.get(format!("{}{path}", self.base)).call())
    }

    pub fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        answer(self.agent.post(format!("{}{path}", self.base)).send_json(body))
    }

    /// A POST that may be said again under its key.
    pub fn post_once(&self, path: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        let call = self.agent.post(format!("{}{path}", self.base)).header("Idempotency-Key", key);
        answer(call.send_json(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        answer(self.agent.put(format!("{}{path}", self.base)).send_json(body))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        answer(self.agent.patch(format!("{}{path}", self.base)).send_json(body))
    }

    pub fn delete(&self, path: &str) -> Option<(u16, Value)> {
        answer(self.agent.delete(format!("{}{path}", self.base)).call())
    }

    /// The same with an `Idempotency-Key`; a body that is null is none.
    pub fn keyed(&self, method: &str, path: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("Idempotency-Key", key);
        if body.is_null() {
            return answer(self.agent.run(request.body(()).expect("a sound request")));
        }
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        answer(self.agent.run(request.expect("a sound request")))
    }

    /// All items of a listing, page by page.
    ///
    /// # Panics
    /// When a page is refused, or the pages do not end.
    pub fn all(&self, path: &str, cursor: &str) -> Vec<Value> {
        let (mut items, mut next) = (Vec::new(), None::<String>);
        let separator = if path.contains('?') { '&' } else { '?' };
        for _ in 0..10_000 {
            let from = next.as_ref().map_or(String::new(), |next| format!("&{cursor}={next}"));
            let (status, page) =
                self.get(&format!("{path}{separator}limit=1000{from}")).expect("the node answers");
            assert_eq!(status, 200, "{path}: {page}");
            let page_items = page["items"].as_array().expect("a page has items").clone();
            let was_empty = page_items.is_empty();
            items.extend(page_items);
            let before = std::mem::replace(&mut next, page["next"].as_str().map(str::to_owned));
            // A page may be empty because what was asked for is rare; the end is where the cursor stands still.
            if next.is_none() || was_empty && next == before {
                return items;
            }
        }
        panic!("{path} does not end");
    }
}

fn answer(called: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<(u16, Value)> {
    let mut response = called.ok()?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}
