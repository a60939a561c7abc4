//! The registry of a node's metrics: those of its rooms, and of the process.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use cluster::Storage;
use gateway::metrics::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use runtime::meter::{Exposition, Metric};
use runtime::router::Router;
use rustix::time::{ClockId, clock_gettime};

const BUILD: Metric =
    Metric::new("twinfold_build", "What is running: its version, and the node's number and generation");
const CPU_SECONDS: Metric =
    Metric::new("process_cpu_seconds", "Processor time of the process, user and system");
const RESIDENT_BYTES: Metric =
    Metric::new("process_resident_memory_bytes", "Memory of the process that is in RAM");
const OPEN_FDS: Metric = Metric::new("process_open_fds", "File descriptors that are open");
const START_SECONDS: Metric =
    Metric::new("process_start_time_seconds", "When the node was started, in seconds since 1970");

/// All metrics of a node.
pub(crate) fn registry(router: &Router, storage: &Storage, gateway: &Metrics) -> Registry {
    let mut registry = Registry::default();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register_collector(Box::new(Process { started, node: router.node() }));
    registry.register_collector(Box::new(runtime::metrics::Metrics::new(router.clone())));
    registry.register_collector(Box::new(storage.watch()));
    registry.register_collector(Box::new(gateway.clone()));
    registry
}

/// What the system says of this process. What it does not say is left out.
#[derive(Debug)]
struct Process {
    started: f64,
    node: (u64, u64),
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Exposition::new(encoder);
        let (node, generation) = (self.node.0.to_string(), self.node.1.to_string());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        page.info(BUILD, &[("version", version), ("node", node), ("generation", generation)])?;
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        page.counter_f64(CPU_SECONDS, cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)?;
        page.gauge(START_SECONDS, self.started)?;
        if let Some(bytes) = resident_bytes() {
            page.gauge(RESIDENT_BYTES, bytes)?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            page.gauge(OPEN_FDS, open.count() as f64)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? * 1024.0)
}
