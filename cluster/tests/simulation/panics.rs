//! Panics of tasks, which tokio keeps to itself: a task that panics in a simulation is a bug that was found.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The last one on this thread since [`forget`].
pub fn last() -> Option<String> {
    LAST.with_borrow(Clone::clone)
}

/// From now on this thread has had none.
pub fn forget() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            LAST.set(Some(panic.to_string().replace('\n', " ")));
            before(panic);
        }));
    });
    LAST.set(None);
}
