//! A connection: one task that owns the socket, the timer, the mailbox and the session, and moves things between them.
//!
//! One read is parsed whole, and all that it says is submitted at once; mail is taken whole, and all that it answers is
//! written at once. Bytes are read into a buffer of the thread, so that an idle connection owns none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use runtime::access::Denied;
use runtime::mailbox::{Mail, Mailbox};
use runtime::path::step;
use runtime::router::Router;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::Instrument;
use twins::reply::Reply;

use crate::metrics::{Metrics, Protocol};
use crate::quotas::Quotas;
use crate::trust::provisioning::Provisioning;
use crate::trust::vault::random;

use super::grounds::{Footing, Grounds};
use super::options::READ_BYTES;
use super::session::{Actions, Admitted, Respond, Session};

/// How long a closed connection's client may go on sending.
const LINGER: Duration = Duration::from_secs(1);
/// An idle connection's timer is set this far ahead.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What a connection is made of.
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) session: Session,
    pub(super) router: Router,
    /// What gives its device a key.
    pub(super) provisioning: Provisioning,
    /// What its device stands on, once it was let in.
    pub(super) grounds: Grounds,
    /// How much its device may take, and its address.
    pub(super) quotas: Quotas,
    /// Where its client is.
    pub(super) from: IpAddr,
    /// How long letting a client in may take.
    pub(super) login_timeout: Duration,
    /// How long one write may take.
    pub(super) write_timeout: Duration,
    /// Where it counts.
    pub(super) metrics: Metrics,
}

/// A connection that runs.
struct Driver<S> {
    /// Absent once it is closed.
    stream: Option<S>,
    session: Session,
    router: Router,
    provisioning: Provisioning,
    grounds: Grounds,
    quotas: Quotas,
    /// Where its device stands, when it was just let in.
    footing: Option<Footing>,
    from: IpAddr,
    mailbox: Arc<Mailbox>,
    login_timeout: Duration,
    write_timeout: Duration,
    metrics: Metrics,
    /// Bytes since packets were last counted: in, out.
    bytes: [u64; 2],
}

/// What happened.
enum Event {
    /// The session has taken what was read.
    Read,
    Lost(String),
    Mail,
    Timeout,
    ShutOut,
    Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Runs until the twin has heard of the connection's end. A change of `stopping` ends it.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let Self {
            stream,
            session,
            router,
            provisioning,
            grounds,
            quotas,
            from,
            login_timeout,
            write_timeout,
            metrics,
        } = self;
        let mailbox = Arc::new(Mailbox::default());
        let mut driver = Driver {
            stream: Some(stream),
            session,
            router,
            provisioning,
            grounds,
            quotas,
            footing: None,
            from,
            mailbox: mailbox.clone(),
            login_timeout,
            write_timeout,
            metrics,
            bytes: [0; 2],
        };
        let mut mail = Vec::new();
        let mut told_to_stop = false;
        let mut footing: Option<Footing> = None;
        // Reset only when it has to fire earlier, since it mostly moves on with each packet.
        let mut armed = Instant::now() + FAR;
        let mut sleep = pin!(sleep_until(armed.into()));
        loop {
            driver.act().await;
            driver.count();
            footing = driver.footing.take().or(footing);
            if driver.session.is_over() {
                break;
            }
            let next = driver.session.next_timeout();
            if let Some(next) = next.filter(|next| *next < armed) {
                armed = next;
                sleep.as_mut().reset(armed.into());
            }
            let event = tokio::select! {
                () = mailbox.take(&mut mail) => Event::Mail,
                event = driver.read() => event,
                () = &mut sleep => Event::Timeout,
                () = gone(&mut footing) => Event::ShutOut,
                _ = stopping.changed(), if !told_to_stop => Event::Stop,
            };
            let now = Instant::now();
            match event {
                Event::Read => {}
                Event::Lost(why) => driver.session.lost(now, &why),
                Event::Mail => driver.session.mail(now, &mut mail),
                Event::Timeout => {
                    driver.session.timeout(now);
                    armed = now + FAR;
                    sleep.as_mut().reset(armed.into());
                }
                Event::ShutOut => {
                    footing = None;
                    driver.session.shut_out(now);
                }
                Event::Stop => {
                    told_to_stop = true;
                    driver.session.stop(now);
                }
            }
        }
        driver.report();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Does all that the session wants done.
    async fn act(&mut self) {
        loop {
            let Actions { login, challenge, submissions, responses, applications, bytes, close } =
                self.session.actions();
            let silent = submissions.is_empty() && responses.is_empty() && applications.is_empty();
            if login.is_none() && !challenge && silent && bytes.is_empty() && !close {
                return;
            }
            if challenge {
                self.session.challenged(Instant::now(), random().ok());
            }
            if let Some(login) = login {
                let client = login.client().to_owned();
                let admitted = timeout(self.login_timeout, login.present(&self.router)).await;
                let admitted = admitted.unwrap_or_else(|_| {
                    Err(Denied::Later("it was not found out in time whether it may come in".into()))
                });
                // Who authenticates anew has an account.
                let admitted = match self.session.who() {
                    Some(_) => admitted,
                    None => admitted.and_then(|admitted| self.account(admitted, &client)),
                };
                let admitted = admitted.and_then(|admitted| self.stand(admitted));
                if let Err(denied) = &admitted {
                    self.metrics.denied(Protocol::Mqtt, denied);
                }
                self.session.admitted(Instant::now(), admitted);
            }
            if !submissions.is_empty() {
                self.router.submit(&self.mailbox, submissions);
            }
            for Respond { token, twin, id, response } in responses {
                let waited = self.router.respond(&twin, &id, response).await;
                self.session.responded(Instant::now(), token, waited);
            }
            for application in applications {
                let token = application.token;
                let reply = application.make(&self.provisioning, &self.router, self.from).await;
                self.session.applied(Instant::now(), token, reply);
            }
            if !bytes.is_empty() {
                self.write(&bytes).await;
            }
            if close {
                self.close().await;
            }
        }
    }

    /// Gives who was let in an account.
    fn account(&self, mut admitted: Admitted, client: &str) -> Result<Admitted, Denied> {
        admitted.account = Some(self.quotas.connect(&admitted.twin, client, Instant::now())?);
        Ok(admitted)
    }

    /// Gives who was let in a footing, unless they would not be let in any more.
    fn stand(&mut self, admitted: Admitted) -> Result<Admitted, Denied> {
        let footing = self.grounds.stand(&admitted.twin, &admitted.proof);
        self.router.access().confirm(&admitted.identity())?;
        self.footing = Some(footing);
        Ok(admitted)
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        self.bytes[1] += bytes.len() as u64;
        let span = step!("12.write", bytes = bytes.len());
        let all = async {
            stream.write_all(bytes).await?;
            // What TLS has taken it may not have sent yet.
            stream.flush().await
        };
        let writing = timeout(self.write_timeout, all).instrument(span);
        let written = match writing.await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the client does not read".to_owned()),
        };
        match written {
            Ok(()) => self.session.written(Instant::now()),
            Err(why) => self.session.lost(Instant::now(), &why),
        }
    }

    /// Closes the connection. What the client still sends is read and forgotten for a while: were it left unread, the
    /// system would reset the connection, and the client might never read why it was closed.
    async fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            // It may be gone already.
            if let Ok(Ok(())) = timeout(self.write_timeout, stream.shutdown()).await {
                drop(timeout(LINGER, drain(stream)).await);
            }
        }
    }

    /// Reads once, when the session listens. Cancel safe: nothing is read unless the session takes it at once.
    async fn read(&mut self) -> Event {
        let (Some(stream), true) = (&mut self.stream, self.session.listens()) else {
            return std::future::pending().await;
        };
        let session = &mut self.session;
        let read =
            poll_fn(|context| SCRATCH.with_borrow_mut(|scratch| read(stream, session, scratch, context)));
        match read.await {
            Ok(0) => Event::Lost("closed by the client without DISCONNECT".into()),
            Ok(bytes) => {
                self.bytes[0] += bytes as u64;
                Event::Read
            }
            Err(error) => Event::Lost(error.to_string()),
        }
    }

    /// Adds what came and went to the metrics of the node.
    fn count(&mut self) {
        let ([received, sent], [bytes_in, bytes_out]) =
            (self.session.packets(), std::mem::take(&mut self.bytes));
        if received + bytes_in > 0 {
            self.metrics.received(received, bytes_in);
        }
        if sent + bytes_out > 0 {
            self.metrics.sent(sent, bytes_out);
        }
        self.metrics.paused(self.session.paused());
    }

    /// Says how it ended. Whole fleets come and go, so that it is no news but to who looks for it.
    fn report(&self) {
        let Some(end) = self.session.end() else { return };
        self.metrics.closed(end.words);
        match self.session.who() {
            Some((twin, client, epoch)) => {
                tracing::debug!(%twin, %client, epoch, reason = end.words, why = end.why, "a device disconnected");
            }
            None => tracing::debug!(reason = end.words, why = end.why, "a client was not let in"),
        }
    }
}

impl<S> Drop for Driver<S> {
    /// A connection that is cut off, or whose task panics, has ended: its twin must not take the device for present.
    fn drop(&mut self) {
        let late = self.mailbox.close().into_iter().find_map(|mail| match mail {
            Mail::Reply { outcome: Ok(Reply::Connected { epoch, .. }), .. } => Some(epoch),
            _ => None,
        });
        if let Some(last_words) = self.session.last_words(late) {
            self.router.submit(&self.mailbox, vec![last_words]);
        }
    }
}

/// Returns when what a device stands on is gone; who stands on nothing waits for ever.
async fn gone(footing: &mut Option<Footing>) {
    match footing {
        Some(footing) => footing.gone().await,
        None => std::future::pending().await,
    }
}

/// Reads until the client has closed the connection, too.
async fn drain<S: AsyncRead + Unpin>(mut stream: S) {
    let mut goes_on = |context: &mut Context<'_>| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut stream).poll_read(context, &mut buffer))?;
            Poll::Ready(Ok::<_, io::Error>(!buffer.filled().is_empty()))
        })
    };
    while let Ok(true) = poll_fn(&mut goes_on).await {}
}

/// One read, taken by the session; returns its length.
fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    session: &mut Session,
    scratch: &mut [u8],
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(scratch);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    let bytes = buffer.filled();
    if !bytes.is_empty() {
        let _span = step!("1.read", bytes = bytes.len()).entered();
        session.received(Instant::now(), bytes);
    }
    Poll::Ready(Ok(bytes.len()))
}
