//! What a behaviour needs, in one line: `use twins::prelude::*;`

pub use std::time::Duration;

pub use serde::{Deserialize, Serialize};

pub use crate::behavior::Behavior;
pub use crate::command::Outcome;
pub use crate::context::Context;
pub use crate::contract::{Command, Desired, Event, Keyed, Method, Query, Reported, Telemetry, Timer};
pub use crate::effects::Effects;
pub use crate::id::TwinId;
pub use crate::migrations::Migrations;
pub use crate::rejection::Rejection;
pub use crate::routes::Routes;
pub use crate::time::Timestamp;
