//! File descriptors: each connection takes one, and so do the files of the log, the streams and the state store. What
//! connections may take is limited so that these always find theirs: a log that cannot open a file stops.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept for files, where there are enough descriptors.
const FILES: usize = 512;

/// How many connections of each protocol there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) mqtt: usize,
    pub(crate) http: usize,
}

impl Shares {
    /// Asks the system for as many descriptors as it grants, and shares them out.
    pub(crate) fn claim() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // Where it is refused, as where there is no maximum on some systems, what there is has to do.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let granted = if raised.is_ok() { maximum } else { current };
        Self::of(granted.map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX)))
    }

    fn of(descriptors: usize) -> Self {
        let connections = descriptors.saturating_sub(FILES).max(descriptors / 4);
        let http = (connections / 4).max(1);
        Self { mqtt: (connections - connections / 4).max(1), http }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_files_theirs() {
        for (descriptors, mqtt, http) in
            [(100_000, 74_616, 24_872), (1_024, 384, 128), (600, 113, 37), (256, 48, 16), (0, 1, 1)]
        {
            assert_eq!(Shares::of(descriptors), Shares { mqtt, http }, "{descriptors}");
        }
    }

    #[test]
    fn the_system_grants_some() {
        let Shares { mqtt, http } = Shares::claim();
        assert!(mqtt >= 1 && http >= 1);
        assert_eq!(Shares::claim(), Shares { mqtt, http });
    }
}
