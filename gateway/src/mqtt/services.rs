//! What all connections of a listener share.

use std::sync::Arc;

use runtime::router::Router;

use crate::metrics::Metrics;
use crate::quotas::Quotas;
use crate::trust::provisioning::Provisioning;

use super::Options;
use super::grounds::Grounds;

/// What a connection needs of its node.
pub(super) struct Services {
    pub(super) options: Arc<Options>,
    pub(super) router: Router,
    /// What gives a device a key.
    pub(super) provisioning: Provisioning,
    /// What devices stand on, once they were let in.
    pub(super) grounds: Grounds,
    /// How much a device may take, and an address.
    pub(super) quotas: Quotas,
    /// Where it is counted.
    pub(super) metrics: Metrics,
}
