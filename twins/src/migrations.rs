//! How a state of an earlier version becomes one of today, one version at a time.

use std::collections::BTreeMap;

use serde_json::Value;

type Step = Box<dyn Fn(&mut Value) + Send + Sync>;

/// The steps from version to version. A version without a step keeps its shape.
#[derive(Default)]
pub struct Migrations {
    steps: BTreeMap<u32, Step>,
}

impl Migrations {
    /// The step from `version` to the next one. It changes the document in place.
    pub fn version(&mut self, version: u32, step: impl Fn(&mut Value) + Send + Sync + 'static) -> &mut Self {
        self.steps.insert(version, Box::new(step));
        self
    }

    /// Brings a document of version `from` to version `to`.
    pub(crate) fn migrate(&self, state: &mut Value, from: u32, to: u32) {
        self.steps.range(from..to).for_each(|(_, step)| step(state));
    }
}

impl std::fmt::Debug for Migrations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.steps.keys()).finish()
    }
}
