//! What a shard hears of its log, in one order, whichever rule commits.
//!
//! A commit, the loss of the lead and the next one come from different tasks. All of them pass through one lock, and the
//! ear and the callbacks are called under it, so that none overtakes another: a proposal is answered before the shard
//! hears that it follows, and is answered once.
//!
//! A proposal whose tenure has ended may still be committed; then it is told like anybody's entry.
//!
//! It lives as long as the group is here, so that a tenure outlives a change of the rule, and no number of one is given
//! twice.

use runtime::log::{Done, Ear, Error, LogId, Standing, Tenure, Told};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Between a log and its shard.
pub(crate) struct Telling {
    inner: Mutex<Inner>,
    /// Somebody new listens, to whom nothing of the one before may be told as news.
    asked: Notify,
}

struct Inner {
    /// This node.
    node: u64,
    /// Who leads, as everybody but the shard hears it.
    leader: watch::Sender<Option<u64>>,
    ear: Option<Ear>,
    leads: Option<Tenure>,
    flight: Option<Flight>,
    /// Everything through this index is committed, and can be read.
    conveyed: u64,
    tenures: u64,
    flights: u64,
}

/// A proposal that is under way.
struct Flight {
    number: u64,
    tenure: Tenure,
    since: Instant,
    done: Done,
}

impl Telling {
    /// Of a log that is committed through an index, and that this node leads in a tenure if it does.
    pub(crate) fn new(node: u64, conveyed: u64, leads: Option<Tenure>) -> Self {
        let leader = watch::Sender::new(leads.map(|_| node));
        let inner = Inner { node, leader, ear: None, leads, flight: None, conveyed, tenures: 0, flights: 0 };
        Self { inner: Mutex::new(inner), asked: Notify::new() }
    }

    /// Tells another ear from now on. A tenure ends with the ear that was told of it: what the one before proposed must
    /// be committed, or be gone, before the new one leads.
    ///
    /// Where nobody else can lead, and nothing is under way, there is nothing to wait for: the tenure is kept.
    pub(crate) fn listen(&self, ear: Ear, is_alone: bool) -> Standing {
        let mut inner = self.inner();
        inner.ear = Some(ear);
        if is_alone && inner.flight.is_none() {
            return Standing { through: inner.conveyed, leads: inner.leads };
        }
        inner.depose();
        self.asked.notify_one();
        Standing { through: inner.conveyed, leads: None }
    }

    /// Who leads, as far as this node knows, and each change of that. It is this node from when its shard is told so.
    pub(crate) fn leader(&self) -> watch::Receiver<Option<u64>> {
        self.inner().leader.subscribe()
    }

    /// Waits until somebody new listens.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Takes a proposal: its number, or none when it was refused.
    pub(crate) fn begin(&self, tenure: Tenure, done: Done) -> Option<u64> {
        let mut inner = self.inner();
        if inner.leads != Some(tenure) || inner.flight.is_some() {
            done(Err(Error::NotLeader { term: tenure.term }));
            return None;
        }
        inner.flights += 1;
        let number = inner.flights;
        inner.flight = Some(Flight { number, tenure, since: Instant::now(), done });
        Some(number)
    }

    /// A proposal was not appended, or nobody knows. One that was answered already is left alone.
    pub(crate) fn refused(&self, number: u64, error: Error) {
        let mut inner = self.inner();
        if let Some(flight) = inner.flight.take_if(|flight| flight.number == number) {
            (flight.done)(Err(error));
        }
    }

    /// A proposal is committed, and everything before it was told.
    pub(crate) fn accepted(&self, number: u64, id: LogId) {
        let mut inner = self.inner();
        inner.conveyed = inner.conveyed.max(id.index);
        match inner.flight.take_if(|flight| flight.number == number) {
            Some(flight) => (flight.done)(Ok(id)),
            None => inner.tell(Told::Committed { through: id.index }),
        }
    }

    /// An entry of another node, or of an earlier time, is committed.
    pub(crate) fn committed(&self, index: u64) {
        let mut inner = self.inner();
        inner.conveyed = inner.conveyed.max(index);
        inner.tell(Told::Committed { through: index });
    }

    /// The log was read anew, and says that everything through an index is committed, told or not.
    pub(crate) fn found(&self, index: u64) {
        let mut inner = self.inner();
        if index > inner.conveyed {
            inner.conveyed = index;
            inner.tell(Told::Committed { through: index });
        }
    }

    /// The shard has the state of another node, through an index.
    pub(crate) fn replaced(&self, index: u64) {
        let mut inner = self.inner();
        inner.conveyed = inner.conveyed.max(index);
        inner.tell(Told::Replaced);
    }

    /// The shard has nothing any more, and neither has its log.
    pub(crate) fn forgotten(&self) {
        let mut inner = self.inner();
        inner.depose();
        inner.led_by(None);
        inner.conveyed = 0;
        inner.tell(Told::Follows { leader: None });
        inner.tell(Told::Replaced);
    }

    /// An entry of consensus' own is committed.
    pub(crate) fn passed(&self, index: u64) {
        let mut inner = self.inner();
        inner.conveyed = inner.conveyed.max(index);
    }

    /// This node leads in a term, and all that it proposed before is committed or gone.
    pub(crate) fn leads(&self, term: u64) {
        self.inner().leads(term);
    }

    /// As [`Telling::leads`], where the tenure before may go on: then nobody hears of it.
    pub(crate) fn resume(&self, term: u64) {
        let mut inner = self.inner();
        if inner.leads.is_none_or(|tenure| tenure.term != term) {
            inner.leads(term);
        }
    }

    /// This node does not lead.
    pub(crate) fn follows(&self, leader: Option<u64>) {
        let mut inner = self.inner();
        inner.depose();
        inner.led_by(leader);
        inner.tell(Told::Follows { leader });
    }

    /// Does something for a proposal if it waits for its answer, before anything else can be told: what is appended for it
    /// is then appended in its tenure. It must not call back.
    pub(crate) fn while_awaited<T>(&self, number: u64, send: impl FnOnce() -> T) -> Option<T> {
        let inner = self.inner();
        inner.flight.as_ref().is_some_and(|flight| flight.number == number).then(send)
    }

    /// Whether a proposal waits for its answer.
    pub(crate) fn awaits(&self, number: u64) -> bool {
        self.inner().flight.as_ref().is_some_and(|flight| flight.number == number)
    }

    /// The tenure that the shard was last told of, while it holds.
    pub(crate) fn tenure(&self) -> Option<Tenure> {
        self.inner().leads
    }

    /// Through which index all is committed, and can be read.
    pub(crate) fn conveyed(&self) -> u64 {
        self.inner().conveyed
    }

    /// Since when a proposal is under way.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.inner().flight.as_ref().map(|flight| flight.since)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What is called under it hands on and returns; if it panics all the same, what it was told of is done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn leads(&mut self, term: u64) {
        self.depose();
        self.tenures += 1;
        let tenure = Tenure { term, number: self.tenures };
        self.leads = Some(tenure);
        self.led_by(Some(self.node));
        self.tell(Told::Leads { tenure, through: self.conveyed });
    }

    fn depose(&mut self) {
        if self.leads.take().is_some() {
            self.led_by(None);
        }
        if let Some(Flight { tenure, done, .. }) = self.flight.take() {
            done(Err(Error::Deposed { term: tenure.term }));
        }
    }

    /// This node is none that leads before its shard was told so.
    fn led_by(&self, leader: Option<u64>) {
        let leader = leader.filter(|leader| *leader != self.node || self.leads.is_some());
        self.leader.send_if_modified(|known| std::mem::replace(known, leader) != leader);
    }

    fn tell(&self, told: Told) {
        if let Some(ear) = &self.ear {
            ear(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// What the shard hears, in its order.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Heard {
        fn ear(&self) -> Ear {
            let heard = self.clone();
            Box::new(move |told| heard.note(format!("{told:?}")))
        }

        fn done(&self) -> Done {
            let heard = self.clone();
            Box::new(move |fate| heard.note(format!("{fate:?}")))
        }

        fn note(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn leading() -> (Telling, Heard, Tenure) {
        let (telling, heard) = (Telling::new(1, 4, None), Heard::default());
        telling.listen(heard.ear(), false);
        telling.leads(7);
        let tenure = telling.tenure().unwrap();
        heard.take();
        (telling, heard, tenure)
    }

    fn id(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    #[test]
    fn this_node_is_shown_as_the_leader_from_when_its_shard_is_told_to_when_it_is_deposed() {
        let telling = Telling::new(1, 4, None);
        let mut leader = telling.leader();
        telling.follows(Some(1));
        assert_eq!(*leader.borrow_and_update(), None, "it is elected, and may not serve yet");

        telling.leads(7);
        assert_eq!(*leader.borrow_and_update(), Some(1));
        telling.follows(Some(2));

        assert_eq!(*leader.borrow_and_update(), Some(2));
        telling.follows(Some(2));
        assert!(!leader.has_changed().unwrap());
    }

    #[test]
    fn a_proposal_is_answered_by_its_commit_and_told_to_nobody() {
        let (telling, heard, tenure) = leading();

        let number = telling.begin(tenure, heard.done()).unwrap();
        telling.accepted(number, id(7, 5));
        telling.committed(6);

        assert_eq!(
            heard.take(),
            [format!("{:?}", Ok::<_, Error>(id(7, 5))), "Committed { through: 6 }".into()]
        );
    }

    #[test]
    fn a_proposal_under_way_is_deposed_before_the_shard_follows_and_told_when_it_is_committed_later() {
        let (telling, heard, tenure) = leading();

        let number = telling.begin(tenure, heard.done()).unwrap();
        telling.follows(Some(2));
        telling.refused(number, Error::NotLeader { term: 7 });
        telling.accepted(number, id(7, 5));

        let expected =
            ["Err(Deposed { term: 7 })", "Follows { leader: Some(2) }", "Committed { through: 5 }"];
        assert_eq!(heard.take(), expected);
    }

    #[test]
    fn a_proposal_of_a_tenure_that_ended_is_refused_though_the_term_goes_on() {
        let (telling, heard, tenure) = leading();
        telling.follows(None);
        telling.leads(7);
        heard.take();

        assert!(telling.begin(tenure, heard.done()).is_none());

        assert_eq!(heard.take(), ["Err(NotLeader { term: 7 })"]);
        assert!(telling.begin(telling.tenure().unwrap(), heard.done()).is_some());
    }

    #[test]
    fn whoever_listens_anew_leads_only_after_it_was_told_so() {
        let (telling, heard, tenure) = leading();
        let number = telling.begin(tenure, heard.done()).unwrap();
        let newcomer = Heard::default();

        let standing = telling.listen(newcomer.ear(), false);
        telling.accepted(number, id(7, 5));
        telling.leads(7);

        assert_eq!(standing, Standing { through: 4, leads: None });
        assert_eq!(heard.take(), ["Err(Deposed { term: 7 })"]);
        let leads = "Leads { tenure: Tenure { term: 7, number: 2 }, through: 5 }";
        assert_eq!(newcomer.take(), ["Committed { through: 5 }", leads]);
    }

    #[test]
    fn where_nobody_else_can_lead_whoever_listens_anew_waits_only_for_what_is_under_way() {
        let (telling, heard, tenure) = leading();
        assert_eq!(telling.listen(heard.ear(), true), Standing { through: 4, leads: Some(tenure) });
        let number = telling.begin(tenure, heard.done()).unwrap();
        heard.take();

        let standing = telling.listen(heard.ear(), true);
        telling.accepted(number, id(7, 5));
        telling.resume(7);
        telling.resume(7);

        assert_eq!(standing, Standing { through: 4, leads: None });
        let leads = "Leads { tenure: Tenure { term: 7, number: 2 }, through: 5 }";
        assert_eq!(heard.take(), ["Err(Deposed { term: 7 })", "Committed { through: 5 }", leads]);
    }
}
