//! Requests that come from elsewhere, are malformed, or ask for more than there is.

use super::Neighbourhood;
use super::support::raw::{Answer, exchange, request};

const JSON: (&str, &str) = ("Content-Type", "application/json");

impl Neighbourhood {
    /// Asks, and sees that nobody else was harmed.
    fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = exchange(self.node.at.http, &request(method, target, headers, body));
        self.is_unharmed((method, target));
        answer.unwrap_or_else(|| panic!("{method} {target} was not answered"))
    }

    #[track_caller]
    fn check(&mut self, asked: (&str, &str), headers: &[(&str, &str)], body: &[u8], problem: (u16, &str)) {
        let answer = self.ask(asked.0, asked.1, headers, body);
        assert_eq!(answer.problem(), problem, "{asked:?}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{asked:?}: {}", answer.head);
    }

    #[track_caller]
    fn refuses(&mut self, method: &str, target: &str, body: &str, problem: (u16, &str)) {
        let headers: &[_] = if body.is_empty() { &[] } else { &[JSON] };
        self.check((method, target), headers, body.as_bytes(), problem);
    }
}

#[test]
fn a_web_page_of_elsewhere_is_refused() {
    let mut all = Neighbourhood::of("n-page");
    let get = ("GET", "/v1/devices");
    all.check(get, &[("Host", "evil.example")], b"", (421, "foreign-host"));
    let twice = [("Host", "localhost"), ("Host", "evil.example")];
    assert_eq!(all.ask(get.0, get.1, &twice, b"").status, 400, "no HTTP, since `Host` stands there twice");
    all.check(get, &[("Host", "127.0.0.1.evil.example:80")], b"", (421, "foreign-host"));
    all.check(("GET", "http://evil.example/v1/devices"), &[], b"", (421, "foreign-host"));
    all.check(get, &[("Origin", "http://evil.example")], b"", (403, "foreign-origin"));
    all.check(get, &[("Origin", "null")], b"", (403, "foreign-origin"));
    all.check(get, &[("Sec-Fetch-Site", "cross-site")], b"", (403, "foreign-origin"));
    let put = ("PUT", "/v1/devices/h-page");
    let types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"];
    for name in types {
        all.check(put, &[("Content-Type", name)], b"{}", (415, "unsupported-media-type"));
    }
    all.check(put, &[], b"{}", (415, "unsupported-media-type"));
    assert_eq!(
        all.ask("OPTIONS", "/v1/devices/h-page", &[("Origin", "http://evil.example")], b"").status,
        403
    );
    assert_eq!(
        all.ask("GET", "/v1/devices/h-page", &[], b"").problem(),
        (404, "unknown-twin"),
        "none was heard"
    );
}

#[test]
fn a_body_past_a_limit_is_refused() {
    let mut all = Neighbourhood::of("n-body");
    let large = format!(r#"{{"tags":{{"a":"{}"}}}}"#, "x".repeat(300 << 10));
    all.refuses("PATCH", "/v1/twins/n-body", &large, (413, "too-large"));
    let deep = format!(r#"{{"desired":{}1{}}}"#, r#"{"a":"#.repeat(40), "}".repeat(40));
    all.refuses("PATCH", "/v1/twins/n-body", &deep, (413, "too-large"));
    all.refuses("PATCH", "/v1/twins/n-body", &"[".repeat(100_000), (413, "too-large"));
    let section = format!(r#"{{"tags":{{"ok":1}},"desired":{{"a":"{}"}}}}"#, "x".repeat(66_000));
    all.refuses("PATCH", "/v1/twins/n-body", &section, (413, "too-large"));

    let twin = all.node.twin("n-body");
    assert!(twin["tags"]["ok"].is_null() && twin["desired"]["a"].is_null(), "{twin}");
}

#[test]
fn a_body_that_does_not_fit_is_refused_with_the_place() {
    let mut all = Neighbourhood::of("n-fit");
    for (body, problem) in [
        ("{", (400, "malformed")),
        (r#"{"tags":NaN}"#, (400, "malformed")),
        (r#"{"tags":{"a":1,"a":2}}"#, (400, "malformed")),
        (r#"{"reported":{}}"#, (422, "malformed")),
        (r#"{"tags":7}"#, (422, "malformed")),
        ("null", (422, "malformed")),
        ("[]", (422, "malformed")),
    ] {
        all.refuses("PATCH", "/v1/twins/n-fit", body, problem);
    }
    all.refuses("PUT", "/v1/devices/h-fit", r#"{"kind":"dragon"}"#, (422, "unknown-kind"));
    all.refuses("PUT", "/v1/devices/h-fit", r#"{"color":"red"}"#, (422, "malformed"));
    all.refuses("PUT", "/v1/devices/n-fit", r#"{"kind":"thermostat"}"#, (409, "conflict"));
    all.refuses("POST", "/v1/twins/n-fit/commands", r#"{"payload":1}"#, (422, "malformed"));
    all.refuses("POST", "/v1/twins/n-fit/commands", r#"{"name":"a","ttl_s":-1}"#, (422, "malformed"));
    all.refuses("POST", "/v1/twins/n-fit/commands", r#"{"name":"a","ttl_s":1e308}"#, (422, "malformed"));
    all.refuses("POST", "/v1/twins/n-fit/commands", r##"{"name":"a/#"}"##, (422, "malformed"));
    all.refuses("POST", "/v1/twins/n-fit/methods/dance", "1", (404, "unknown-method"));
    assert_eq!(all.node.twin("n-fit")["tags"].as_object().map(serde_json::Map::len), Some(0));
}

#[test]
fn a_change_that_is_meant_to_be_protected_never_goes_unprotected() {
    let mut all = Neighbourhood::of("n-match");
    for tag in ["nonsense", "\"0-0-0\"", "W/\"1-1-1\"", "", "\"a"] {
        let headers = [JSON, ("If-Match", tag)];
        all.check(
            ("PATCH", "/v1/twins/n-match"),
            &headers,
            br#"{"tags":{"a":1}}"#,
            (412, "version-mismatch"),
        );
    }
    assert!(all.node.twin("n-match")["tags"]["a"].is_null());
}

#[test]
fn a_query_that_means_nothing_is_refused_by_name() {
    let mut all = Neighbourhood::of("n-query");
    for target in [
        "/v1/devices?limit=0",
        "/v1/devices?limit=1001",
        "/v1/devices?limit=-1",
        "/v1/devices?limit=1&limit=2",
        "/v1/devices?after=!!",
        "/v1/devices?after=Li4",
        "/v1/devices?unknown=1",
        "/v1/events?from=nonsense",
        "/v1/events?from=9999:0",
        "/v1/events?from=0:99999999999999999999999",
        "/v1/events?shard=64",
        "/v1/events?shard=64&from=64:0",
        "/v1/events?type=nothing",
        "/v1/events?to=yesterday",
        "/v1/twins/n-query/telemetry?from=%FF",
        "/v1/twins/n-query/commands?state=lost",
        "/v1/twins/n-query/commands?after=x",
    ] {
        all.refuses("GET", target, "", (400, "bad-parameter"));
    }
    all.refuses("POST", "/v1/twins/n-query/requests/a?timeout_s=1e9", "", (400, "bad-parameter"));
    all.refuses("POST", "/v1/twins/n-query/requests/a?timeout_s=NaN", "", (400, "bad-parameter"));
}

#[test]
fn a_path_that_leads_nowhere_is_refused() {
    let mut all = Neighbourhood::of("n-path");
    for target in
        ["/v1/nothing", "/v1", "/v2/devices", "/v1/devices/a/b", "/v1/../etc/passwd", "//v1/devices"]
    {
        all.refuses("GET", target, "", (404, "not-found"));
    }
    for id in ["me", ".", "%2E%2E", "a%2Fb", "..%2F..%2Fetc", "a%00b", "%FF", "a%20b", "+", &"x".repeat(129)]
    {
        all.refuses("GET", &format!("/v1/twins/{id}"), "", (400, "bad-parameter"));
        all.refuses("PUT", &format!("/v1/devices/{id}"), "{}", (400, "bad-parameter"));
    }
    all.refuses("GET", "/v1/twins/nobody-there", "", (404, "unknown-twin"));
    all.refuses("GET", "/v1/twins/n-path/commands/no-id", "", (404, "unknown-command"));
    let answer = all.ask("DELETE", "/v1/devices", &[JSON], b"{}");
    assert_eq!(answer.problem(), (405, "method-not-allowed"));
    assert!(answer.head.contains("allow: get, head, post"), "{}", answer.head);
    for method in ["TRACE", "BREW"] {
        all.check((method, "/v1/devices"), &[JSON], b"", (405, "method-not-allowed"));
    }
}

#[test]
fn what_is_no_http_is_closed() {
    let mut all = Neighbourhood::of("n-http");
    let smuggled = [("Content-Length", "2"), ("Transfer-Encoding", "chunked"), JSON];
    for bytes in [
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        [b"GET /".as_slice(), &[b'a'; 200_000], b" HTTP/1.1\r\n\r\n"].concat(),
        request("GET", "/v1/devices", &[("X", &"y".repeat(200_000))], b""),
        request("GET", "/v1/devices", &vec![("X", "y"); 200], b""),
        request("PUT", "/v1/devices/h-http", &smuggled, b"{}"),
        request("PUT", "/v1/devices/h-http", &[("Content-Length", "-1"), JSON], b"{}"),
        request("GET", "/v1/twins/a\0b", &[], b""),
    ] {
        let answer = exchange(all.node.at.http, &bytes);
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let status = answer.map_or(0, |answer| answer.status);
        assert!(matches!(status, 0 | 400 | 404 | 413 | 414 | 431), "{what}: {status}");
        all.is_unharmed(what);
    }
}
