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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::Instrument;
use twins::reply::Reply;

use crate::metrics::Protocol;
use crate::trust::vault::random;

use super::grounds::Footing;
use super::options::READ_BYTES;
use super::services::Services;
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
    /// Where its client is.
    pub(super) from: IpAddr,
    pub(super) services: Arc<Services>,
}

/// A connection that runs.
struct Driver<S> {
    /// Absent once it is closed.
    stream: Option<S>,
    session: Session,
    from: IpAddr,
    services: Arc<Services>,
    /// Where its device stands, since it was let in.
    footing: Option<Footing>,
    mailbox: Arc<Mailbox>,
    /// Whoever leads the shard of its device hears of it.
    is_attached: bool,
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
        let Self { stream, session, from, services } = self;
        let mut driver = Driver {
            stream: Some(stream),
            session,
            from,
            services,
            footing: None,
            mailbox: Arc::default(),
            is_attached: false,
            bytes: [0; 2],
        };
        let mut mail = Vec::new();
        let mut told_to_stop = false;
        // Reset only when it has to fire earlier, since it mostly moves on with each packet.
        let mut armed = Instant::now() + FAR;
        let mut sleep = pin!(sleep_until(armed.into()));
        loop {
            driver.act().await;
            driver.count();
            if driver.session.is_over() {
                break;
            }
            let next = driver.session.next_timeout();
            if let Some(next) = next.filter(|next| *next < armed) {
                armed = next;
                sleep.as_mut().reset(armed.into());
            }
            let Driver { stream, session, footing, mailbox, bytes, .. } = &mut driver;
            let event = tokio::select! {
                () = mailbox.take(&mut mail) => Event::Mail,
                event = read(stream, session, bytes) => event,
                () = &mut sleep => Event::Timeout,
                () = gone(footing) => Event::ShutOut,
                _ = stopping.changed(), if !told_to_stop => Event::Stop,
            };
            let now = Instant::now();
            match event {
                Event::Read => {}
                Event::Lost(why) => driver.session.lost(now, &why),
                Event::Mail => {
                    driver.session.mail(now, &mut mail);
                    driver.attach();
                }
                Event::Timeout => {
                    driver.session.timeout(now);
                    armed = now + FAR;
                    sleep.as_mut().reset(armed.into());
                }
                Event::ShutOut => {
                    driver.footing = None;
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
        let services = self.services.clone();
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
                let admitted =
                    timeout(services.options.connect_timeout, login.present(&services.router)).await;
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
                    services.metrics.denied(Protocol::Mqtt, denied);
                }
                self.session.admitted(Instant::now(), admitted);
            }
            if !submissions.is_empty() {
                services.router.submit(&self.mailbox, submissions);
            }
            for Respond { token, twin, id, response } in responses {
                let waited = services.router.respond(&twin, &id, response).await;
                self.session.responded(Instant::now(), token, waited);
            }
            for application in applications {
                let token = application.token;
                let reply = application.make(&services.provisioning, &services.router, self.from).await;
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
        let account = self.services.quotas.connect(&admitted.twin, client, Instant::now())?;
        admitted.account = Some(account);
        Ok(admitted)
    }

    /// Gives who was let in a footing, unless they would not be let in any more.
    fn stand(&mut self, admitted: Admitted) -> Result<Admitted, Denied> {
        let Services { grounds, router, .. } = &*self.services;
        let footing = grounds.stand(&admitted.twin, &admitted.proof);
        router.access().confirm(&admitted.identity())?;
        self.footing = Some(footing);
        Ok(admitted)
    }

    /// Has whoever leads the shard of its device hear of the connection, once it has begun.
    fn attach(&mut self) {
        if !self.is_attached
            && let Some((twin, _, epoch)) = self.session.who().filter(|(.., epoch)| *epoch > 0)
        {
            self.services.router.attach(&self.mailbox, twin, epoch);
            self.is_attached = true;
        }
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
        let writing = timeout(self.services.options.answer_timeout, all).instrument(span);
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
            if let Ok(Ok(())) = timeout(self.services.options.answer_timeout, stream.shutdown()).await {
                drop(timeout(LINGER, drain(stream)).await);
            }
        }
    }

    /// Adds what came and went to the metrics of the node.
    fn count(&mut self) {
        let metrics = &self.services.metrics;
        let ([received, sent], [bytes_in, bytes_out]) =
            (self.session.packets(), std::mem::take(&mut self.bytes));
        if received + bytes_in > 0 {
            metrics.received(received, bytes_in);
        }
        if sent + bytes_out > 0 {
            metrics.sent(sent, bytes_out);
        }
        metrics.paused(self.session.paused());
    }

    /// Says how it ended. Whole fleets come and go, so that it is no news but to who looks for it.
    fn report(&self) {
        let Some(end) = self.session.end() else { return };
        self.services.metrics.closed(end.words);
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
            self.services.router.submit(&self.mailbox, vec![last_words]);
        }
        if let Some((twin, ..)) = self.session.who() {
            self.services.router.detach(&self.mailbox, twin);
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

/// Reads once, when the session listens. Cancel safe: nothing is read unless the session takes it at once.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut Option<S>,
    session: &mut Session,
    bytes: &mut [u64; 2],
) -> Event {
    let (Some(stream), true) = (stream, session.listens()) else {
        return std::future::pending().await;
    };
    let once = poll_fn(|context| SCRATCH.with_borrow_mut(|scratch| take(stream, session, scratch, context)));
    match once.await {
        Ok(0) => Event::Lost("closed by the client without DISCONNECT".into()),
        Ok(length) => {
            bytes[0] += length as u64;
            Event::Read
        }
        Err(error) => Event::Lost(error.to_string()),
    }
}

/// One read, taken by the session; returns its length.
fn take<S: AsyncRead + Unpin>(
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
