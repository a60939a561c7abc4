//! The twin of a device: everything the log knows of it, and the one way to change it.
//!
//! [`Twin::apply`] is total and knows no behaviour, so a live actor, a recovering node and a replica share it, and a
//! follower needs none of a developer's code.

use std::sync::Arc;

use crate::handshake::Handshakes;
use crate::header::{Header, Principal};
use crate::id::TwinId;
use crate::json::Document;
use crate::keys::{Kept, Keys};
use crate::mids::Mids;
use crate::name::Name;
use crate::queue::Queue;
use crate::rejection::{Code, Rejection};
use crate::section::{Section, Which};
use crate::session::{Session, Sessions};
use crate::time::Timestamp;
use crate::timers::Timers;
use crate::transition::{Change, Transition};
use crate::trust::{self, Lifecycle, Standing, Trust, link};

/// The state of one device's twin. An id that was never registered has the default one: it is absent.
///
/// Cheap to clone: what is large is shared.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Twin {
    /// How often the id was registered.
    #[n(0)]
    generation: u32,
    /// How many transitions it has had.
    #[n(1)]
    sequence: u64,
    /// What it is; absent or removed twins are nothing.
    #[n(2)]
    kind: Option<Name>,
    #[n(3)]
    created: Timestamp,
    #[n(4)]
    tags: Section,
    #[n(5)]
    desired: Section,
    #[n(6)]
    reported: Section,
    #[n(7)]
    state: State,
    #[n(8)]
    commands: Queue,
    #[n(9)]
    timers: Timers,
    #[n(10)]
    sessions: Sessions,
    #[n(11)]
    mids: Mids,
    #[n(12)]
    keys: Keys,
    /// Absent where nothing was ever said of it.
    #[n(13)]
    #[cbor(with = "crate::codec::sparse")]
    trust: Option<Arc<Trust>>,
    #[n(14)]
    #[cbor(with = "crate::codec::sparse")]
    catalogue: Option<Arc<Section>>,
    /// The version of the desired section that the device was registered with.
    #[n(15)]
    #[cbor(default)]
    begun: u64,
}

/// The behaviour's own state, as a document of one version of its kind. Version 0 is none yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct State {
    /// The version of the kind that wrote it.
    #[n(0)]
    pub version: u32,
    /// The state.
    #[n(1)]
    pub document: Document,
}

impl Twin {
    /// Whether the id is registered.
    pub fn exists(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether a device stands behind it: one whose place is another's is only remembered.
    pub fn has_device(&self) -> bool {
        self.exists() && self.trust().replaced_by().is_none()
    }

    /// Its kind; empty where it does not exist.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("")
    }

    /// How often the id was registered: an id that is registered again is another device.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many transitions it has had: its version.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was registered.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// A section of the shadow.
    pub fn section(&self, which: Which) -> &Section {
        match which {
            Which::Tags => &self.tags,
            Which::Desired => &self.desired,
            Which::Reported => &self.reported,
            Which::Catalogue => self.catalogue(),
        }
    }

    /// The labels that operators gave.
    pub fn tags(&self) -> &Section {
        &self.tags
    }

    /// What the device should become.
    pub fn desired(&self) -> &Section {
        &self.desired
    }

    /// What the device says it is.
    pub fn reported(&self) -> &Section {
        &self.reported
    }

    /// The business data of the device: for people and applications, never for the device.
    pub fn catalogue(&self) -> &Section {
        self.catalogue.as_deref().unwrap_or(Section::none())
    }

    /// Who the device is, and what it proves that with.
    pub fn trust(&self) -> &Trust {
        self.trust.as_deref().unwrap_or(Trust::none())
    }

    /// Where the device is in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        let has_connected = self.sessions.last_ended().is_some() || self.sessions.connected().next().is_some();
        self.trust().lifecycle(has_connected)
    }

    /// Whether its device, of this id, may take the place of another one of this kind: it has to be let in, and to have
    /// nothing of its own that would be lost. What it was registered with is not its own.
    ///
    /// # Errors
    /// What is in its way.
    pub fn may_succeed(&self, id: &TwinId, kind: &str) -> Result<(), Rejection> {
        let (id, trust) = (id.id(), self.trust());
        let has = [
            (self.desired.version() > self.begun, "has a desired section"),
            (self.reported.version() > 0, "has a reported section"),
            (self.commands.all().next().is_some(), "has commands"),
            (self.state.version > 0 || !self.timers.is_empty(), "has a state of its own"),
            (!trust.ancestors().is_empty(), "has taken another place"),
            (trust.succession().is_some(), "is about to be replaced, or to take another place"),
        ];
        let why = match has.into_iter().find(|(is, _)| *is) {
            _ if trust.replaced_by().is_some() => format!("`{id}` was replaced itself"),
            _ if trust.standing() != Standing::Enabled => format!("`{id}` is {}", self.lifecycle().as_str()),
            _ if self.kind() != kind => format!("`{id}` is a `{}`, not a `{kind}`", self.kind()),
            Some((_, what)) => format!("`{id}` {what}, which would be lost: a device that is new can take the place of another"),
            None => return Ok(()),
        };
        Err(Rejection::new(Code::Conflict, why))
    }

    /// The behaviour's state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its commands.
    pub fn commands(&self) -> &Queue {
        &self.commands
    }

    /// Its armed timers.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Its sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The message ids that its device used.
    pub fn mids(&self) -> &Mids {
        &self.mids
    }

    /// The idempotency keys that applications used.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The version of what applications write, tags and desired, so that a chatty device does not break `If-Match`.
    pub fn etag(&self) -> String {
        format!("\"{}-{}-{}\"", self.generation, self.tags.version(), self.desired.version())
    }

    /// When time alone will change it: the next timer or deadline, the next will or end of a session.
    pub fn next_due(&self) -> Option<Timestamp> {
        let trust = self.trust().next_due();
        let due = [self.timers.next_due(), self.commands.next_deadline(), self.sessions.next_due(), trust];
        due.into_iter().flatten().min()
    }

    /// Its kind, where it exists.
    pub fn kind_name(&self) -> Option<&Name> {
        self.kind.as_ref()
    }

    /// About how much memory it takes, in bytes: what is large is counted, what is small is estimated.
    pub fn bytes(&self) -> usize {
        let sections = [&self.tags, &self.desired, &self.reported, self.catalogue()].map(Section::bytes);
        let sessions = self.sessions.iter().map(Session::bytes).sum::<usize>();
        let commands = self.commands.all().map(|command| 200 + command.bytes());
        size_of::<Self>()
            + sections.iter().sum::<usize>()
            + self.state.document.len()
            + commands.sum::<usize>()
            + sessions
            + 48 * self.timers.len()
            + self.mids.bytes()
            + self.keys.bytes()
            + self.trust.as_ref().map_or(0, |trust| trust.bytes())
    }

    /// Makes of the twin what was decided. A transition that does not follow the twin's current one is none, and
    /// `false` is returned: all replicas agree on that, since they see the same log.
    pub fn apply(&mut self, transition: &Transition) -> bool {
        if transition.sequence != self.sequence + 1 {
            return false;
        }
        for change in &transition.changes {
            self.change(change, &transition.header);
        }
        self.finish(&transition.header);
        true
    }

    /// The end of a transition: it is counted, and its input's place in the session is marked.
    pub(crate) fn finish(&mut self, header: &Header) {
        self.sequence += 1;
        if let Some(mark) = header.mark
            && let Some(session) = self.sessions.at_mut(mark.epoch)
        {
            session.n = mark.n;
        }
    }

    fn shake(&mut self, epoch: u64, change: impl FnOnce(&mut Handshakes)) {
        if let Some(session) = self.sessions.at_mut(epoch) {
            session.shake(change);
        }
    }

    /// What of a twin outlives it: its generation, the numbers that must never come again, and the requests that may.
    fn bare(&self) -> Self {
        let sessions = self.sessions.ended();
        let keys = self.keys.clone();
        let trust = self.trust.as_ref().map(|trust| Arc::new(trust.bare())).filter(|trust| !trust.is_none());
        Self { generation: self.generation, sequence: self.sequence, sessions, keys, trust, ..Self::default() }
    }

    /// What is left of a twin whose place is another's: who it was, and by whom it was replaced.
    fn given_up(&self) -> Self {
        Self { kind: self.kind.clone(), created: self.created, trust: self.trust.clone(), ..self.bare() }
    }

    /// One change. Total: what does not fit changes nothing.
    pub(crate) fn change(&mut self, change: &Change, header: &Header) {
        let at = header.received;
        match change {
            Change::Created { kind } => {
                let generation = self.generation + 1;
                let (kind, keys) = (Some(kind.clone()), self.keys.of_before());
                *self = Self { generation, kind, created: at, keys, ..self.bare() };
            }
            Change::Removed => *self = self.bare(),
            Change::Patched { section, patch, by_behavior } => {
                let by = if *by_behavior { &Principal::Behavior } else { &header.principal };
                let section = match section {
                    Which::Tags => &mut self.tags,
                    Which::Desired => &mut self.desired,
                    Which::Reported => &mut self.reported,
                    Which::Catalogue => Arc::make_mut(self.catalogue.get_or_insert_default()),
                };
                section.apply(patch, at, by);
            }
            Change::State { version, patch } => {
                self.state = State { version: *version, document: self.state.document.apply(patch) };
            }
            Change::Armed { name, due } => self.timers.arm(name, *due),
            Change::Disarmed { name } => self.timers.disarm(name),
            Change::Queued(command) => self.commands.push(command),
            Change::Stepped { id, step } => self.commands.step(*id, step, at),
            Change::Connected(connect) => self.sessions.connect(connect, at),
            Change::Disconnected { epoch, .. } => self.sessions.disconnect(*epoch, at),
            Change::Subscribed { epoch, subscription } => {
                if let Some(session) = self.sessions.at_mut(*epoch) {
                    session.subscriptions.retain(|before| !before.is_replaced_by(subscription));
                    session.subscriptions.push(subscription.clone());
                }
            }
            Change::Unsubscribed { epoch, filter } => {
                if let Some(session) = self.sessions.at_mut(*epoch) {
                    session.subscriptions.retain(|before| before.filter != *filter);
                }
            }
            Change::DesiredSent { epoch, version } => {
                if let Some(session) = self.sessions.at_mut(*epoch) {
                    session.desired.in_flight.push(*version);
                }
            }
            Change::DesiredUnsent { epoch, version } => {
                if let Some(session) = self.sessions.at_mut(*epoch) {
                    session.desired.unsend(*version);
                }
            }
            Change::DesiredAcknowledged { epoch, version } => {
                if let Some(session) = self.sessions.at_mut(*epoch) {
                    session.desired.in_flight.retain(|sent| sent > version);
                    session.desired.acknowledged = session.desired.acknowledged.max(Some(*version));
                }
            }
            Change::Held { epoch, packet } => self.shake(*epoch, |all| all.hold(*packet)),
            Change::LetGo { epoch, packet } => self.shake(*epoch, |all| all.let_go(*packet)),
            Change::HandshakeBegun { epoch, packet, message } => {
                self.shake(*epoch, |all| all.begin(*packet, *message));
            }
            Change::HandshakeReleased { epoch, packet } => self.shake(*epoch, |all| all.release(*packet)),
            Change::HandshakeCompleted { epoch, packet } => self.shake(*epoch, |all| all.complete(*packet)),
            Change::WillTimed { epoch, due } => {
                let will = self.sessions.known_mut(*epoch).and_then(|session| session.will.as_mut());
                will.into_iter().for_each(|will| will.due = Some(*due));
            }
            Change::WillEnded { epoch } => {
                self.sessions.known_mut(*epoch).into_iter().for_each(|session| session.will = None);
            }
            Change::ExpiryChanged { epoch, kept, expiry_s } => {
                if let Some(session) = self.sessions.at_mut(*epoch) {
                    (session.kept, session.expiry_s) = (*kept, *expiry_s);
                }
            }
            Change::SessionEnded { epoch } => self.sessions.end(*epoch),
            Change::Proved { epoch, proof } => {
                self.sessions.at_mut(*epoch).into_iter().for_each(|session| session.proof = proof.clone());
            }
            Change::Begun => self.begun = self.desired.version(),
            Change::Redriven { id } => self.commands.redriven(*id),
            Change::Trust(change) => {
                let trust = Arc::make_mut(self.trust.get_or_insert_default());
                trust.apply(change, at);
                trust.chain_on(&link(at, &header.principal, change));
                match change {
                    trust::Change::Replaced { .. } => *self = self.given_up(),
                    trust::Change::Erased => *self = Self { keys: Keys::default(), ..self.bare() },
                    _ => {}
                }
            }
            Change::Seen { returned } => {
                if let Some(mid) = header.mid {
                    self.mids.remember(mid, at, returned.as_ref());
                }
            }
            Change::Answered { answer, returned } => {
                if let Some(request) = header.idempotency {
                    let (answer, generation) = (*answer, self.generation);
                    self.keys.remember(Kept { request, at, answer, generation }, returned.as_ref());
                }
            }
        }
    }
}
