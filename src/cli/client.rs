//! The HTTP client: one call of the API, and its answer or why there is none.
//!
//! ureq asks no proxy. A node in the open is believed when one of the authorities in a file signed for it; a node in `dev`
//! is on this machine, and speaks plain HTTP.

use std::fmt::{self, Write};
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH};
use ureq::http::response::Parts;
use ureq::http::{Method, Request, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::problem::Problem;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, beside what the call itself waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream of events is read before it is asked for again, which also finds a peer that vanished.
const STREAM_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a backup may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// What of a long answer is in memory.
const PIECE: usize = 256 << 10;
/// The largest answer that is read: several times a page of the API.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Where a node, or a collector, answers: `https://host:port`, or `http://`.
#[derive(Debug, Clone)]
pub(crate) struct Url(String);

/// Why a URL is none.
#[derive(Debug, thiserror::Error)]
#[error("write {}HOST:PORT", .0.join("HOST:PORT or "))]
pub(crate) struct BadUrl(&'static [&'static str]);

/// The node that is asked, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: Url,
    /// Who asks.
    pub(crate) token: Option<String>,
    /// The authorities that may sign for a node, PEM; read for `https` alone.
    pub(crate) authorities: PathBuf,
}

/// One call of the API.
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    if_match: Option<String>,
    patience: Duration,
}

/// What the API answered: the JSON as it came.
pub(crate) struct Answer {
    pub(super) body: String,
    pub(super) etag: Option<String>,
    from: Url,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no node answers at {0}: {1}\nnext: is a node running? start one: twinfold dev")]
    Unreachable(Url, String),
    #[error("{}: {why}\nnext: name a PEM file of those who may sign for the node, or its own certificate: --ca FILE", file.display())]
    Authorities { file: PathBuf, why: String },
    #[error(
        "the node at {0} is not believed: {1}\nnext: see whether --url names it as its certificate does, and --ca who signed for it"
    )]
    Unbelieved(Url, String),
    #[error("no host is found for {0}: {1}\nnext: see whether --url, or TWINFOLD_URL, is spelled right")]
    NoHost(Url, String),
    #[error(
        "the node at {0} did not answer: {1}\nnext: see whether its HTTP API is there (--url), and its log; whether it did what was asked is not known"
    )]
    Unanswered(Url, String),
    #[error(
        "what answers at {0} is no node of this version: {1}\nnext: see what listens there, or choose another with --url"
    )]
    Foreign(Url, String),
    #[error(
        "the request cannot be sent: {0}\nnext: see whether --token and --if-match are one line of plain text"
    )]
    Unspeakable(#[from] ureq::http::Error),
    #[error(
        "writing what the node sent failed: {0}\nnext: see whether the disk is full, or write to elsewhere"
    )]
    Unwritten(io::Error),
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl Call {
    pub(crate) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments, None)
    }

    pub(crate) fn put(segments: &[&str], body: &impl Serialize) -> Self {
        Self::new(Method::PUT, segments, Some(json(body)))
    }

    pub(crate) fn post(segments: &[&str], body: &impl Serialize) -> Self {
        Self::new(Method::POST, segments, Some(json(body)))
    }

    pub(super) fn patch(segments: &[&str], body: &impl Serialize) -> Self {
        Self::new(Method::PATCH, segments, Some(json(body)))
    }

    pub(super) fn delete(segments: &[&str]) -> Self {
        Self::new(Method::DELETE, segments, None)
    }

    /// A call of `/v1/{segments}`.
    fn new(method: Method, segments: &[&str], body: Option<Vec<u8>>) -> Self {
        let mut path = "/v1".to_owned();
        for segment in segments {
            path.push('/');
            encode(segment, &mut path);
        }
        Self { method, path, body, if_match: None, patience: ANSWER_TIMEOUT }
    }

    /// With a parameter, where there is one.
    pub(crate) fn query(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        if let Some(value) = value {
            self.path.push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(name);
            self.path.push('=');
            encode(&value.to_string(), &mut self.path);
        }
        self
    }

    /// Only if the twin still has this ETag; its quotes may be left out.
    pub(super) fn if_match(mut self, etag: Option<String>) -> Self {
        let quoted = |etag: &str| etag == "*" || etag.contains('"');
        self.if_match = etag.map(|etag| if quoted(&etag) { etag } else { format!("\"{etag}\"") });
        self
    }

    /// The answer may take so much longer.
    pub(super) fn waits(mut self, longer: Duration) -> Self {
        self.patience += longer;
        self
    }

    /// Asks the node there.
    pub(crate) fn send(self, to: &Target) -> Result<Answer, Error> {
        let agent = agent(to, self.patience, None)?;
        let (head, body) = self.answered(to, None, &agent)?;
        let body = read(body, &to.url)?;
        Ok(Answer { body, etag: etag(&head.headers), from: to.url.clone() })
    }

    /// Asks the node there for a stream of events, after the one with the id `last`.
    pub(super) fn open(self, to: &Target, last: Option<&str>) -> Result<impl Read + use<>, Error> {
        let agent = agent(to, self.patience, Some(STREAM_TIMEOUT))?;
        let (_, body) = self.answered(to, last, &agent)?;
        Ok(body.into_reader())
    }

    /// Asks the node there, and writes what it answers as it comes.
    pub(super) fn download(self, from: &Target, to: &mut impl io::Write) -> Result<(), Error> {
        let agent = agent(from, self.patience, Some(DOWNLOAD_TIMEOUT))?;
        let (_, body) = self.answered(from, None, &agent)?;
        let (mut body, mut piece) = (body.into_reader(), vec![0; PIECE]);
        loop {
            let length =
                body.read(&mut piece).map_err(|error| unanswered(&from.url, &ureq::Error::Io(error)))?;
            if length == 0 {
                return Ok(());
            }
            to.write_all(&piece[..length]).map_err(Error::Unwritten)?;
        }
    }

    /// The answer, if it is a success.
    fn answered(self, to: &Target, last: Option<&str>, agent: &Agent) -> Result<(Parts, Body), Error> {
        let Target { url, token, .. } = to;
        let mut request = Request::builder().method(self.method).uri(format!("{url}{}", self.path));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(etag) = self.if_match {
            request = request.header(IF_MATCH, etag);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answered = match self.body {
            Some(body) => agent.run(request.header(CONTENT_TYPE, "application/json").body(body)?),
            None => agent.run(request.body(())?),
        };
        let (head, body) = answered.map_err(|error| unanswered(url, &error))?.into_parts();
        if head.status.is_success() {
            return Ok((head, body));
        }
        let foreign = |_| Error::Foreign(url.clone(), format!("it says {}", head.status));
        Err(serde_json::from_str(&read(body, url)?).map_or_else(foreign, Error::Problem))
    }
}

impl Answer {
    /// The answer as a type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.body).map_err(|error| Error::Foreign(self.from.clone(), error.to_string()))
    }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Self::of(text, &["https://", "http://"])
    }
}

impl Url {
    /// One without TLS, for what is spoken to on this machine or through a tunnel.
    #[cfg(feature = "otlp")]
    pub(crate) fn plain(text: &str) -> Result<Self, BadUrl> {
        Self::of(text, &["http://"])
    }

    fn of(text: &str, schemes: &'static [&'static str]) -> Result<Self, BadUrl> {
        let bad = || BadUrl(schemes);
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let is_known = schemes.iter().any(|scheme| scheme.strip_suffix("://") == uri.scheme_str());
        if !is_known || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(bad());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    fn is_secured(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn read(mut body: Body, url: &Url) -> Result<String, Error> {
    let text = body.with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    text.map_err(|error| unanswered(url, &error))
}

/// One that waits so long for an answer; or for its head alone, and as long as `stream` for the rest.
fn agent(to: &Target, patience: Duration, stream: Option<Duration>) -> Result<Agent, Error> {
    let config = Agent::config_builder()
        .tls_config(tls(to)?)
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("twinfold/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(stream.is_none().then_some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_recv_body(stream);
    Ok(config.build().into())
}

/// Whom to believe.
fn tls(to: &Target) -> Result<TlsConfig, Error> {
    let config = TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(default_provider()));
    if !to.url.is_secured() {
        return Ok(config.build());
    }
    let bad = |why| Error::Authorities { file: to.authorities.clone(), why };
    let text = std::fs::read(&to.authorities).map_err(|error| bad(error.to_string()))?;
    let mut roots = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(root) = item.map_err(|error| bad(error.to_string()))? {
            roots.push(root);
        }
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate in PEM".to_owned()));
    }
    Ok(config.root_certs(RootCerts::from(roots)).build())
}

/// Why there is no answer: because nobody is there, or for another reason.
fn unanswered(url: &Url, error: &ureq::Error) -> Error {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    use ureq::Timeout::{Connect, Resolve};
    let reason = match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    let is_absent = match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        }
        ureq::Error::ConnectionFailed => true,
        ureq::Error::Timeout(Connect | Resolve) => true,
        _ => false,
    };
    // The standard library has no kind of its own for it.
    let is_unknown =
        reason.starts_with("failed to lookup address") || matches!(error, ureq::Error::HostNotFound);
    match error {
        _ if is_unknown => Error::NoHost(url.clone(), reason),
        _ if is_absent => Error::Unreachable(url.clone(), reason),
        _ if is_unbelieved(error) => Error::Unbelieved(url.clone(), reason),
        ureq::Error::Protocol(_) => Error::Foreign(url.clone(), reason),
        _ => Error::Unanswered(url.clone(), reason),
    }
}

/// Whether the certificate, or what came instead of one, is the reason.
fn is_unbelieved(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("what the verbs send has a form in JSON")
}

fn etag(headers: &HeaderMap) -> Option<String> {
    headers.get(ETAG)?.to_str().ok().map(str::to_owned)
}

/// Appends text as a part of a path or of a query (RFC 3986): all but unreserved characters are escaped.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_escapes_what_would_lead_elsewhere() {
        let call = Call::get(&["twins", "../a?b#ü:1"]).query("from", Some("1+2 3&x")).query("to", None::<u8>);
        assert_eq!(call.path, "/v1/twins/..%2Fa%3Fb%23%C3%BC%3A1?from=1%2B2%203%26x");
    }

    #[test]
    fn the_quotes_of_an_etag_may_be_left_out() {
        let sent = |etag: &str| Call::get(&[]).if_match(Some(etag.into())).if_match.unwrap();
        assert_eq!(sent("1-2-3"), r#""1-2-3""#);
        assert_eq!(sent(r#""1-2-3""#), r#""1-2-3""#);
        assert_eq!(sent("*"), "*");
    }

    #[test]
    fn a_url_is_http_with_tls_or_without_and_a_host() {
        assert_eq!("http://127.0.0.1:8080/".parse::<Url>().unwrap().to_string(), "http://127.0.0.1:8080");
        assert!("https://localhost:8443".parse::<Url>().is_ok());
        for text in ["", "localhost:8080", "https://", "http://", "http://a?b", "mqtt://a"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
        let said = "localhost".parse::<Url>().unwrap_err().to_string();
        assert_eq!(said, "write https://HOST:PORT or http://HOST:PORT");
    }

    fn target(url: &str) -> Target {
        Target { url: url.parse().unwrap(), token: None, authorities: "no-such-file.pem".into() }
    }

    #[test]
    fn who_signs_for_nodes_is_read_for_those_that_need_it() {
        let failed = Call::get(&["devices"]).send(&target("https://localhost:1")).err().unwrap().to_string();
        assert!(failed.starts_with("no-such-file.pem: ") && failed.contains("--ca FILE"), "{failed}");
    }

    #[test]
    fn a_host_that_is_not_found_is_not_said_to_have_failed() {
        // No name ends so (RFC 6761).
        let to = target("http://no-such-host.invalid:8080");
        let failed = Call::get(&["devices"]).send(&to).err().unwrap().to_string();
        assert!(failed.starts_with("no host is found for http://no-such-host.invalid:8080: "), "{failed}");
        assert!(failed.contains("\nnext: see whether --url"), "{failed}");
    }

    #[test]
    fn nobody_there_is_told_how_to_start_a_node() {
        // Port 1 is of a service that nobody has run for decades.
        let failed = Call::get(&["devices"]).send(&target("http://127.0.0.1:1")).err().unwrap().to_string();
        assert!(failed.starts_with("no node answers at http://127.0.0.1:1: "), "{failed}");
        assert!(failed.ends_with("start one: twinfold dev"), "{failed}");
    }
}
