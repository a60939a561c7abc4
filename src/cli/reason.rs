//! `--reason`: what the audit is told of why something was done.

use clap::Args;
use serde_json::{Value, json};

/// Why.
#[derive(Args)]
pub(super) struct Reason {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Reason {
    pub(super) fn text(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(super) fn into_text(self) -> Option<String> {
        self.reason
    }

    /// A body that says it, and nothing else.
    pub(super) fn body(&self) -> Value {
        self.text().map_or_else(|| json!({}), |reason| json!({"reason": reason}))
    }
}
