//! Who decides: the shard of the node that leads. On every other node the shard [follows](super::follow), and applies
//! what was decided there.
//!
//! The log says which it is. A shard that is to lead first applies all that was committed before; one that is deposed
//! falls back to what is committed, lets go of its connections, and lives on with the twins it has. Where there are other
//! nodes, those connections go on: they are [attached](super::attach) to the one that leads.

use twins::reply::{Closed, Delivery};
use twins::time::Timestamp;

use crate::error::Error;
use crate::log::{Tenure, Told};
use crate::mailbox::Mail;

use super::{Action, Failed, Shard};

/// What a shard is to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Another one leads, or nobody.
    Follows { leader: Option<u64> },
    /// It leads as soon as it has applied everything through an index.
    Catching { tenure: Tenure, through: u64 },
    /// It decides.
    Leads,
}

impl Shard {
    /// The log says who leads, or how far it is committed.
    pub(crate) fn told(&mut self, now: Timestamp, told: Told) -> Result<(), Failed> {
        self.pass(now);
        match told {
            Told::Committed { through } => self.following.know(through),
            Told::Leads { tenure, through } => {
                self.step_down();
                self.following.know(through);
                self.role = Role::Catching { tenure, through };
            }
            Told::Follows { leader } => {
                self.step_down();
                self.role = Role::Follows { leader };
            }
            Told::Replaced => return Err(self.failed("its state was replaced")),
        }
        self.turn()
    }

    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leads
    }

    /// The term in which it decides, if it does.
    pub(crate) fn leading(&self) -> Option<u64> {
        self.leads().then_some(self.tenure.term)
    }

    /// Why it takes nothing in.
    pub(super) fn not_leading(&self) -> Error {
        let why = match self.role {
            Role::Follows { leader: Some(node) } => format!("node {node} leads it"),
            Role::Follows { leader: None } => "nobody is known to lead it".to_owned(),
            Role::Catching { .. } | Role::Leads => "this node is about to lead it".to_owned(),
        };
        Error::Unwritten { shard: self.setting.number, why }
    }

    /// Time as it goes on here: that of the shard itself stands still while nothing is committed and nobody leads.
    pub(super) fn time(&self) -> Timestamp {
        if self.leads() { self.now } else { self.wall }
    }

    /// Everything that was committed before is applied: from here on it decides.
    pub(super) fn begin_to_lead(&mut self, tenure: Tenure) {
        self.role = Role::Leads;
        self.tenure = tenure;
        self.now = self.now.max(self.wall);
        // Twins that were told of what is due in an earlier tenure may never have decided on it.
        let rows = self.unwritten_rows();
        self.due.begin_again(rows);
        self.actions.push_back(Action::ReadDue { tenure, after: None });
        self.ended().into_iter().for_each(|work| self.one(work));
        tracing::info!(shard = self.setting.number, term = tenure.term, "the shard leads");
    }

    /// Another one decides from here on, whatever this one has decided.
    fn step_down(&mut self) {
        if !self.leads() {
            return;
        }
        let shard = self.setting.number;
        let unwritten = Error::Unwritten { shard, why: "this node does not lead it any more".to_owned() };
        let why = "this node lost the lead before it was committed".to_owned();
        let unknown = Error::Unknown { shard, why };
        self.fall_back(&unknown, &unwritten);
        self.fell_back = false;
        self.refuse_unsure(&unwritten);
        self.connections.change_leader();
        match self.setting.away.is_used() {
            true => self.forget_connections(),
            false => self.let_go(),
        }
        for pending in self.pending.drain().flat_map(|(_, all)| all) {
            pending.fail(unknown.clone());
        }
        self.outbox.begin_again();
        self.following = self.following.again(self.applied);
        tracing::info!(shard, term = self.tenure.term, "the shard does not lead any more");
    }

    /// Forgets the mailboxes of all connections: their gateways attach them to whoever leads.
    fn forget_connections(&mut self) {
        self.setting.meter.connections.store(0, std::sync::atomic::Ordering::Relaxed);
        self.mailboxes.clear();
    }

    /// Closes all connections, and forgets their mailboxes.
    pub(super) fn let_go(&mut self) {
        self.setting.meter.connections.store(0, std::sync::atomic::Ordering::Relaxed);
        for (epoch, mailbox) in self.mailboxes.drain().flat_map(|(_, all)| all) {
            mailbox.put([Mail::Delivery { epoch, what: Delivery::Close(Closed::Unavailable) }]);
        }
    }
}
