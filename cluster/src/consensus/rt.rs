//! What openraft runs on: tokio, with dice that a simulation may load, and [values](Watched) that wake in order.
//!
//! openraft throws them for the length of an election timeout alone. In a node they are the system's. While a thread has
//! [`Seeded`], what they show there follows from a seed, so that the same simulation has the same elections.

use super::watched::Watched;
use openraft::async_runtime::AsyncRuntime;
use openraft_rt_tokio::TokioRuntime;
use rand::{Rng, TryRng};
use runtime::files::sim::Random;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

thread_local! {
    static LOADED: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// While it lives, the dice of this thread follow from a seed.
#[must_use = "it ends when it is dropped"]
pub struct Seeded(PhantomData<*const ()>);

impl Seeded {
    /// From now on.
    pub fn begin(seed: u64) -> Self {
        LOADED.set(Some(Random::new(seed)));
        Self(PhantomData)
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        LOADED.set(None);
    }
}

/// The dice of the thread that throws them.
#[derive(Debug)]
pub struct Dice;

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|bits| (bits >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let loaded = LOADED.with_borrow_mut(|loaded| loaded.as_mut().map(Random::bits));
        Ok(loaded.unwrap_or_else(|| rand::rng().next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next_u64().to_le_bytes()[..piece.len()]);
        }
        Ok(())
    }
}

/// openraft's runtime: tokio's, but for the dice and what is watched.
#[derive(Debug)]
pub struct Rt(TokioRuntime);

type Tokio = TokioRuntime;

impl AsyncRuntime for Rt {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Dice;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = Watched;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: Send + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Dice {
        Dice
    }

    fn new(threads: usize) -> Self {
        Self(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Tokio::spawn_blocking(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaded_dice_show_what_follows_from_their_seed_and_others_do_not() {
        let throw = || [Rt::thread_rng().next_u64(), Rt::thread_rng().next_u64()];
        let thrown = |seed| {
            let _loaded = Seeded::begin(seed);
            throw()
        };

        assert_eq!(thrown(7), thrown(7));
        assert_ne!(thrown(7), thrown(8));
        assert_ne!(throw(), throw());
    }
}
