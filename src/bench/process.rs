//! What a process has used, as Linux counts it: processor time and resident memory.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

/// What a process has used by now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Of user and system together, in seconds.
    pub(super) cpu_s: f64,
    /// Resident memory.
    pub(super) rss_bytes: u64,
}

/// Reads it of a process; `None` for this one.
pub(super) fn usage(pid: Option<u32>) -> io::Result<Usage> {
    let folder = pid.map_or("/proc/self".to_owned(), |pid| format!("/proc/{pid}"));
    let unreadable = || io::Error::other(format!("{folder} has another form than Linux gives it"));
    let stat = fs::read_to_string(format!("{folder}/stat"))?;
    let ticks = ticks(&stat).ok_or_else(unreadable)?;
    let status = fs::read_to_string(format!("{folder}/status"))?;
    let rss_bytes = resident(&status).ok_or_else(unreadable)?;
    Ok(Usage { cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64, rss_bytes })
}

/// Asks the system for as many descriptors as it grants; how many those are.
pub(super) fn claim_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where it is refused, what there is has to do; the connections that do not fit fail with a reason.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }.unwrap_or(u64::MAX)
}

/// Lets every other thread of this machine go first, and this one take what they leave: it stands for other machines.
pub(super) fn yield_to_others() {
    // Linux counts a thread as a process here. Where it is refused, it goes on as it is.
    let _refused = setpriority_process(None, 19);
}

/// User and system time: the 14th and 15th field; the 2nd may hold anything, in brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split(' ').skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S"), None);
        assert_eq!(resident("Name:\ta\nVmRSS:\t  12 kB\n"), Some(12 << 10));
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(usage(None).unwrap().rss_bytes > 1 << 20);
        assert!(usage(Some(std::process::id())).is_ok());
    }
}
