//! Work that blocks, on a thread of its own, or at once where a simulation has one thread only.

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

thread_local! {
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that blocks beside the tasks of the runtime. Dropping the answer does not stop it.
///
/// # Panics
/// Outside of a runtime, unless the thread runs such work [inline](Inline::begin).
pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    match INLINE.get() {
        true => Running::Done(Some(work())),
        false => Running::Thread(spawn_blocking(work)),
    }
}

/// Work that blocks and was begun, as a future of what becomes of it.
#[derive(Debug)]
pub enum Running<T> {
    /// On a thread.
    Thread(JoinHandle<T>),
    /// It was done at once; none when the answer was taken.
    Done(Option<T>),
}

// What it holds is never pinned.
impl<T> Unpin for Running<T> {}

impl<T> Future for Running<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Thread(handle) => Pin::new(handle).poll(context),
            Self::Done(done) => Poll::Ready(Ok(done.take().expect("an answer is taken once"))),
        }
    }
}

/// While it lives, what this thread has [run] is done at once, in order. For simulations: their disks do not block.
#[must_use = "it ends when it is dropped"]
pub struct Inline(PhantomData<*const ()>);

impl Inline {
    /// From now on.
    pub fn begin() -> Self {
        INLINE.set(true);
        Self(PhantomData)
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        INLINE.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_has_it_done_at_once_and_others_on_a_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let here = std::thread::current().id();
        let whose = || run(|| std::thread::current().id());

        let inline = Inline::begin();
        let at_once = runtime.block_on(whose()).unwrap();
        drop(inline);
        let beside = runtime.block_on(async { whose().await }).unwrap();

        assert_eq!(at_once, here);
        assert_ne!(beside, here);
    }
}
