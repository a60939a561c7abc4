//! Fault points: places at which a test ends the process, or lets something happen, to see what a restart makes of it.
//!
//! A place says its name with [`point`], which does nothing: it reads one flag. It does something in a process that was
//! started with `TWINFOLD_FAULT=name:n` in its environment, which aborts when it comes to the place for the `n`-th time
//! (`name` alone means `name:1`), and in a thread that has a [`Hook`].
//!
//! All places are listed in [`POINTS`]; a test compares the list with the sources.
//!
//! It is not for errors that the system reports: those are a simulated disk's and a test's port.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The variable of the environment.
pub const VARIABLE: &str = "TWINFOLD_FAULT";

/// Every place, in the order of the path through the node.
pub const POINTS: [&str; 6] = [
    // A checkpoint's stream is durable and its rows are not; both are, and the log does not know.
    "checkpoint.synced",
    "checkpoint.written",
    // Some, or all, of another replica's state is there, and nothing of it is visible.
    "replica.staging",
    "replica.staged",
    // It is the shard's, and the log does not know; the state before is gone.
    "replica.switched",
    "replica.cleared",
];

/// Nobody has looked yet, nothing is to happen, something may be.
const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// What a thread does at each place.
type Act = Box<dyn FnMut(&'static str)>;

thread_local! {
    static HOOK: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// The place `name` is passed.
#[inline]
pub fn point(name: &'static str) {
    if STATE.load(Ordering::Relaxed) != OFF {
        passed(name);
    }
}

#[cold]
fn passed(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "`{name}` is not in the list of fault points");
    let planned = planned();
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        let state = if planned.is_some() { ON } else { OFF };
        // A hook may have come meanwhile.
        let _known = STATE.compare_exchange(UNKNOWN, state, Ordering::Relaxed, Ordering::Relaxed);
    }
    if planned.is_some_and(|planned| planned.is_reached(name)) {
        tracing::error!(name, "the process ends at a fault point, as {VARIABLE} says");
        std::process::abort();
    }
    // It is taken out while it runs, so that it may pass places itself.
    let hook = HOOK.with(|hook| hook.borrow_mut().take());
    if let Some(mut hook) = hook {
        hook(name);
        HOOK.with(|place| drop(place.replace(Some(hook))));
    }
}

/// What the environment asks for, read once.
fn planned() -> Option<&'static Planned> {
    static PLANNED: OnceLock<Option<Planned>> = OnceLock::new();
    let planned = PLANNED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let planned = Planned::parse(&text);
        if planned.is_none() {
            tracing::warn!(text, "{VARIABLE} names no fault point; it is `name:n`, and nothing will happen");
        }
        planned
    });
    planned.as_ref()
}

/// The end of the process at a place.
struct Planned {
    name: &'static str,
    /// How often it is still to be passed.
    left: AtomicU64,
}

impl Planned {
    fn parse(text: &str) -> Option<Self> {
        let (name, n) = text.split_once(':').unwrap_or((text, "1"));
        let n = n.parse().ok().filter(|n| *n > 0)?;
        let name = POINTS.into_iter().find(|point| *point == name)?;
        Some(Self { name, left: AtomicU64::new(n) })
    }

    fn is_reached(&self, name: &str) -> bool {
        name == self.name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// What a test lets happen at every place that this thread passes, until it is dropped.
#[must_use = "it ends when it is dropped"]
pub struct Hook(PhantomData<*const ()>);

impl Hook {
    /// Calls `act` with the name of each place. It takes the place of the hook before.
    pub fn new(act: impl FnMut(&'static str) + 'static) -> Self {
        STATE.store(ON, Ordering::Relaxed);
        HOOK.with(|hook| *hook.borrow_mut() = Some(Box::new(act)));
        Self(PhantomData)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        drop(HOOK.with(|hook| hook.borrow_mut().take()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::rc::Rc;

    use super::*;

    /// The names of the places in the sources below a folder.
    fn collect(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(file!())
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let places =
                    text.split("fault::point(\"").skip(1).filter_map(|after| after.split('"').next());
                names.extend(places.map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_list_has_the_places_of_the_sources_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = BTreeSet::new();
        ["runtime/src", "cluster/src", "gateway/src", "src"]
            .iter()
            .for_each(|folder| collect(&root.join(folder), &mut found));

        assert_eq!(found, POINTS.into_iter().map(str::to_owned).collect());
    }

    #[test]
    fn a_hook_sees_every_place_that_its_thread_passes_until_it_is_dropped() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let hook = Hook::new({
            let seen = seen.clone();
            move |name| {
                seen.borrow_mut().push(name);
                point("checkpoint.synced");
            }
        });

        point("checkpoint.synced");
        point("checkpoint.written");
        std::thread::spawn(|| point("checkpoint.synced")).join().unwrap();
        drop(hook);
        point("checkpoint.synced");

        assert_eq!(*seen.borrow(), ["checkpoint.synced", "checkpoint.written"]);
    }

    #[test]
    fn a_place_is_reached_when_it_is_passed_as_often_as_was_said() {
        let planned = Planned::parse("checkpoint.written:3").unwrap();

        let reached = [0; 4].map(|_| planned.is_reached("checkpoint.written"));

        assert_eq!(reached, [false, false, true, false]);
        assert!(!planned.is_reached("checkpoint.synced"));
        assert!(Planned::parse("checkpoint.written").unwrap().is_reached("checkpoint.written"));
        for bad in ["", "checkpoint", "checkpoint.written:", "checkpoint.written:0", "checkpoint.written:-1"]
        {
            assert!(Planned::parse(bad).is_none(), "{bad}");
        }
    }
}
