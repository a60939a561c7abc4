//! The side that is asked: one question a connection, a few at a time, and slow for whoever guesses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use quinn::crypto::rustls::HandshakeData;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{ALPN, Answer, Ask, Grant, MESSAGE_BYTES_MAX, NotAdmitted};
use crate::transport::Shared;
use crate::transport::refusal::Refusal;
use crate::transport::stream::Ended;
use crate::wire::Boxed;

/// How many are answered at a time. A secret has 256 bits: this bounds what guesses cost, not what they find.
const AT_A_TIME: usize = 4;
/// How long whoever showed no good token waits for their answer.
const WRONG: Duration = Duration::from_secs(1);
/// How long one question may take, with its answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Decides who joins.
pub trait Admits: Send + Sync + 'static {
    /// Lets somebody join, or not. Whoever asks again with the same key and token is let join as before.
    fn admit(&self, from: SocketAddr, ask: Ask) -> Boxed<Result<Grant, NotAdmitted>>;
}

/// Where they come in.
pub(in crate::transport) struct Door {
    admits: Arc<dyn Admits>,
    turns: Semaphore,
}

impl Door {
    pub(in crate::transport) fn new(admits: Arc<dyn Admits>) -> Self {
        Self { admits, turns: Semaphore::new(AT_A_TIME) }
    }

    async fn admit(&self, from: SocketAddr, bytes: &[u8]) -> Result<Grant, NotAdmitted> {
        let Ok(_turn) = self.turns.try_acquire() else { return Err(NotAdmitted::Busy) };
        let malformed = |_| NotAdmitted::Malformed("a question that cannot be read".to_owned());
        let ask = minicbor::decode::<Ask>(bytes).map_err(malformed)?;
        let answer = self.admits.admit(from, ask).await;
        if answer.as_ref().is_err_and(NotAdmitted::may_be_a_guess) {
            sleep(WRONG).await;
        }
        answer
    }
}

/// Whether whoever is at the other end wants to join: nothing else may be said to them.
pub(in crate::transport) fn is_asked_for(connection: &Connection) -> bool {
    let agreed = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    agreed.is_some_and(|agreed| agreed.protocol.as_deref() == Some(ALPN))
}

/// Answers the one question, and closes the connection.
pub(in crate::transport) async fn answer(shared: &Shared, connection: &Connection) -> Result<(), Ended> {
    let answered = timeout(PATIENCE, answered(shared, connection)).await;
    let answered = answered.unwrap_or(Err(Refusal::Late(PATIENCE).into()));
    match &answered {
        Err(Ended::Refused(why)) => why.close(connection),
        _ => Refusal::Stops.close(connection),
    }
    answered
}

async fn answered(shared: &Shared, connection: &Connection) -> Result<(), Ended> {
    let (mut out, mut question) = connection.accept_bi().await?;
    let bytes = question.read_to_end(MESSAGE_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| Refusal::Malformed("a question that is cut off, or too long"))?;
    let admitted = match shared.door.get() {
        Some(door) => door.admit(connection.remote_address(), &bytes).await,
        None => Err(NotAdmitted::NotNow("the node lets nobody join".to_owned())),
    };
    let (answer, refusal) = match admitted {
        Ok(grant) => (Answer::Granted(grant), None),
        Err(why) => {
            // What is logged and listed is one line.
            let listed = Refusal::NotAdmitted(why.to_string().replace('\n', "; "));
            (Answer::Refused(why.to_string()), Some(listed))
        }
    };
    out.write_all(&minicbor::to_vec(answer).expect("a vector takes all bytes")).await?;
    drop(out.finish());
    // Until it has arrived: a connection that is closed forgets what is under way.
    drop(out.stopped().await);
    refusal.map_or(Ok(()), |why| Err(why.into()))
}
