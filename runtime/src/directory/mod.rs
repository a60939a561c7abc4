//! The directory: tenants, and in each who may come in, what they may do, and which devices may enrol.
//!
//! It is a value, made by its log alone: each change is an [`Entry`], [`Directory::apply`] is the one step from it to
//! the next version, and every step adds a link to a hash chain. It knows no cryptography but that hash, and no clock:
//! what is secret arrives as a digest or sealed, and the time stands in the entry. It is small, so that every node has
//! all of it in memory, and what asks it waits for nobody.
//!
//! # At most
//! | what | in a tenant | in all |
//! |---|---|---|
//! | tenants | | 1,000 |
//! | users and services | 5,000 | 20,000 |
//! | tokens | 10,000 | 50,000 |
//! | policies | 256, each for 32 | 10,000 |
//! | enrolment groups | 256, each 64 KiB | 1,000 |
//! | device authorities | 16, each 16 KiB | 1,000 |
//!
//! Together that is at worst about 120 MiB, nearly all of it certificates.

mod apply;
pub mod audit;
mod change;
mod enrolment;
mod entitled;
mod failures;
mod limits;
mod members;
mod pattern;
mod policy;
mod port;
mod role;
mod token;
mod verdict;

pub use apply::{Refused, check_name};
pub use change::{By, Change, Entry, REASON_BYTES_MAX};
pub use enrolment::{Authority, Group, Template, Trust};
pub use failures::{Count, Failures, NAMED_MAX as FAILURES_NAMED_MAX};
pub use limits::Limits;
pub use members::{Principal, Sort, Tenant};
pub use pattern::{DevicePattern, Malformed, PathPattern};
pub use policy::{Effect, Policy, Whom};
pub use port::{Changes, Definitions, Listener};
pub use role::{Role, Roles, Verbs};
pub use token::{LIFE_MAX, Token, TokenId};
pub use verdict::{Because, Reach, Verdict, Who};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use twins::id::DEFAULT_TENANT;

use audit::Chain;

/// All definitions of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// How many entries made it: 0 is the one that every node begins with.
    pub version: u64,
    /// The tenants by name. The default one is always there.
    pub tenants: BTreeMap<String, Arc<Tenant>>,
    /// The names of tenants that were removed. Nobody has them again: what they did is in history under those names.
    pub retired: BTreeSet<String>,
    /// The tokens of all tenants: who shows one does not say whose it is.
    pub tokens: BTreeMap<TokenId, Arc<Token>>,
    /// The chain of all entries.
    pub chain: Chain,
}

impl Default for Directory {
    fn default() -> Self {
        let tenants = BTreeMap::from([(DEFAULT_TENANT.to_owned(), Arc::new(Tenant::default()))]);
        Self { version: 0, tenants, retired: BTreeSet::new(), tokens: BTreeMap::new(), chain: Chain::NEW }
    }
}

impl Directory {
    /// A user or a service of a tenant.
    pub fn principal(&self, tenant: &str, name: &str) -> Option<&Principal> {
        self.tenants.get(tenant)?.principals.get(name).map(|principal| &**principal)
    }

    /// Whether somebody can administer the tenant, and with the default one the node.
    pub fn has_admin(&self, tenant: &str) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| tenant.has_admin())
    }
}

#[cfg(test)]
mod tests;
