//! What the device said and has no answer for yet, oldest first.
//!
//! Answers are given in this order, whenever they arrive. After a failure that passes, the input that failed and all
//! that follow it are handed over again under their old numbers, so that the twin takes each once and none before its
//! predecessor; what comes meanwhile waits behind them, and what came before keeps its answer. That an input arrived
//! before its predecessor is such a failure: the predecessor was refused on its way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use runtime::error::{Error, Outcome};
use runtime::router::Submission;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::rejection::Code;

/// The first pause before inputs are handed over again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Entries, each with what is to be done when it is answered (`T`), and answers that need no shard (`A`).
#[derive(Debug)]
pub(super) struct Queue<T, A> {
    entries: VecDeque<Entry<T, A>>,
    bytes: usize,
    /// The next token.
    next: u64,
    /// Until then nothing is handed over.
    pause: Option<Pause>,
    /// How often in a row it failed, and why it last did.
    failures: u32,
    failure: Option<Error>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    /// The oldest input that failed. Answers to those behind it mean nothing: they are handed over again with it.
    from: u64,
}

#[derive(Debug)]
struct Entry<T, A> {
    token: u64,
    /// Absent where no shard is asked.
    input: Option<(Header, Input)>,
    then: T,
    bytes: usize,
    since: Instant,
    answer: Option<Answer<A>>,
}

/// An answer.
#[derive(Debug)]
pub(super) enum Answer<A> {
    /// Of the twin.
    Shard(Outcome),
    /// Given on this side.
    Own(A),
}

impl<T, A> Queue<T, A> {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, next: 0, pause: None, failures: 0, failure: None }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of what is unanswered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an input. Returns it for the shard, unless it has to wait for those before it.
    pub(super) fn push(
        &mut self,
        now: Instant,
        twin: &TwinId,
        (header, input): (Header, Input),
        then: T,
    ) -> Option<Submission> {
        let bytes = input.bytes();
        let submission = self.pause.is_none().then(|| Submission {
            token: self.next,
            twin: twin.clone(),
            header: header.clone(),
            input: input.clone(),
        });
        self.add(now, Some((header, input)), then, bytes, None);
        submission
    }

    /// Adds what is answered already; its turn comes after those before it.
    pub(super) fn push_answered(&mut self, now: Instant, then: T, answer: A) {
        self.add(now, None, then, 0, Some(Answer::Own(answer)));
    }

    /// Adds what [`answer_own`](Self::answer_own) will answer, by the token that is returned.
    pub(super) fn push_own(&mut self, now: Instant, then: T, bytes: usize) -> u64 {
        self.add(now, None, then, bytes, None)
    }

    /// A shard's answer. A failure that passes is none: the input is handed over again after a pause.
    pub(super) fn answer(&mut self, now: Instant, token: u64, outcome: Outcome) {
        let is_void = self.pause.is_some_and(|pause| token >= pause.from);
        if is_void || !self.entries.iter().any(|entry| entry.token == token) {
            return;
        }
        match outcome {
            Err(error) if passes(&error) => {
                let pause = PAUSE.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
                self.pause = Some(Pause { until: now + pause, from: token });
                self.failures += 1;
                self.failure = Some(error);
            }
            outcome => {
                if self.pause.is_none() {
                    self.failures = 0;
                    self.failure = None;
                }
                self.put(token, Answer::Shard(outcome));
            }
        }
    }

    /// The answer to an entry of [`push_own`](Self::push_own).
    pub(super) fn answer_own(&mut self, token: u64, answer: A) {
        self.put(token, Answer::Own(answer));
    }

    /// The oldest entry, once it is answered.
    pub(super) fn pop(&mut self) -> Option<(T, Answer<A>)> {
        self.entries.front()?.answer.as_ref()?;
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        entry.answer.map(|answer| (entry.then, answer))
    }

    /// What failed and everything behind it that has no answer, once the pause is over.
    pub(super) fn again(&mut self, now: Instant, twin: &TwinId) -> Vec<Submission> {
        let Some(Pause { from, .. }) = self.pause.filter(|pause| pause.until <= now) else {
            return Vec::new();
        };
        self.pause = None;
        let failed = |entry: &&mut Entry<T, A>| entry.token >= from && entry.answer.is_none();
        let submissions = self.entries.iter_mut().filter(failed).filter_map(|entry| {
            let (header, input) = entry.input.clone()?;
            entry.token = self.next;
            self.next += 1;
            Some(Submission { token: entry.token, twin: twin.clone(), header, input })
        });
        submissions.collect()
    }

    /// What failed need not wait any longer: its reason has passed.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(pause) = &mut self.pause {
            pause.until = now;
            self.failures = 0;
        }
    }

    /// Whether one of the inputs is on its way, or waits for it.
    pub(super) fn has(&self, is: impl Fn(&Input) -> bool) -> bool {
        self.entries.iter().filter_map(|entry| entry.input.as_ref()).any(|(_, input)| is(input))
    }

    /// When [`again`](Self::again) has something.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.until)
    }

    /// When the oldest entry will have waited for `limit`.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        self.entries.front().map(|entry| entry.since + limit)
    }

    /// Whether the oldest entry has waited for `limit`, and the failure that is in its way, where one is known.
    pub(super) fn overdue(&self, now: Instant, limit: Duration) -> Option<Option<&Error>> {
        let oldest = self.entries.front()?;
        (oldest.since + limit <= now).then_some(self.failure.as_ref())
    }

    fn add(
        &mut self,
        since: Instant,
        input: Option<(Header, Input)>,
        then: T,
        bytes: usize,
        answer: Option<Answer<A>>,
    ) -> u64 {
        let token = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.entries.push_back(Entry { token, input, then, bytes, since, answer });
        token
    }

    /// Answers come in order, so that the entry is found at the front.
    fn put(&mut self, token: u64, answer: Answer<A>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.token == token) {
            entry.answer.get_or_insert(answer);
        }
    }
}

/// Whether the same input may be taken when it comes again.
fn passes(error: &Error) -> bool {
    match error {
        Error::Overloaded { .. } | Error::Unwritten { .. } | Error::Unknown { .. } => true,
        Error::Rejected(rejection) => rejection.code() == Code::OutOfOrder,
        Error::Stopping => false,
    }
}

#[cfg(test)]
mod tests {
    use twins::rejection::Rejection;
    use twins::reply::Reply;

    use super::*;

    fn overloaded() -> Outcome {
        Err(Error::Overloaded { shard: 0, limit: "inputs" })
    }

    fn out_of_order() -> Outcome {
        Err(Rejection::new(Code::OutOfOrder, "input 3 came after 1").into())
    }

    fn tokens(submissions: &[Submission]) -> Vec<u64> {
        submissions.iter().map(|submission| submission.token).collect()
    }

    fn twin() -> TwinId {
        TwinId::in_default_tenant("t-1").unwrap()
    }

    fn filled(now: Instant, n: u64) -> Queue<u64, ()> {
        let mut queue = Queue::new();
        for n in 0..n {
            assert_eq!(queue.push(now, &twin(), (Header::default(), Input::Read), n).unwrap().token, n);
        }
        queue
    }

    fn popped(queue: &mut Queue<u64, ()>) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop()).map(|(then, _)| then).collect()
    }

    #[test]
    fn answers_leave_in_order() {
        let now = Instant::now();
        let mut queue = filled(now, 2);
        queue.push_answered(now, 2, ());

        queue.answer(now, 1, Ok(Reply::Done));
        assert!(popped(&mut queue).is_empty());
        queue.answer(now, 0, Ok(Reply::Done));
        assert_eq!(popped(&mut queue), [0, 1, 2]);
    }

    #[test]
    fn what_failed_and_all_behind_it_are_handed_over_again() {
        let now = Instant::now();
        let mut queue = filled(now, 3);

        queue.answer(now, 0, Ok(Reply::Done));
        queue.answer(now, 1, overloaded());
        queue.answer(now, 2, Ok(Reply::Done));
        assert!(queue.push(now, &twin(), (Header::default(), Input::Read), 3).is_none());

        assert!(queue.again(now, &twin()).is_empty());
        let again = queue.again(now + PAUSE, &twin());
        assert_eq!(tokens(&again), [4, 5, 6]);
        for token in [4, 5, 6] {
            queue.answer(now, token, Ok(Reply::Done));
        }
        assert_eq!(popped(&mut queue), [0, 1, 2, 3]);
    }

    #[test]
    fn what_came_before_a_failure_keeps_its_answer() {
        let now = Instant::now();
        let mut queue = filled(now, 3);

        queue.answer(now, 1, overloaded());
        queue.answer(now, 0, Ok(Reply::Done));
        assert_eq!(popped(&mut queue), [0]);
        assert_eq!(tokens(&queue.again(now + PAUSE, &twin())), [3, 4]);

        let mut queue = filled(now, 3);
        queue.answer(now, 1, overloaded());
        assert_eq!(tokens(&queue.again(now + PAUSE, &twin())), [3, 4], "the first is still on its way");
        queue.answer(now, 0, Ok(Reply::Done));
        assert_eq!(popped(&mut queue), [0]);
    }

    #[test]
    fn what_was_on_its_way_before_a_failure_and_fails_too_comes_again_first() {
        let now = Instant::now();
        let mut queue = filled(now, 3);
        queue.answer(now, 1, overloaded());
        assert_eq!(tokens(&queue.again(now + PAUSE, &twin())), [3, 4]);

        queue.answer(now, 0, overloaded());
        queue.answer(now, 3, out_of_order());
        queue.answer(now, 4, out_of_order());

        let again = queue.again(now + 2 * PAUSE, &twin());
        assert_eq!(tokens(&again), [5, 6, 7]);
        for token in [5, 6, 7] {
            queue.answer(now, token, Ok(Reply::Done));
        }
        assert_eq!(popped(&mut queue), [0, 1, 2]);
    }

    #[test]
    fn an_input_that_arrived_before_its_predecessor_comes_again_behind_it() {
        let now = Instant::now();
        let mut queue = filled(now, 3);
        queue.answer(now, 1, out_of_order());
        queue.answer(now, 0, overloaded());

        assert!(queue.push(now, &twin(), (Header::default(), Input::Read), 3).is_none());
        assert_eq!(tokens(&queue.again(now + 2 * PAUSE, &twin())), [4, 5, 6, 7]);
    }

    #[test]
    fn answers_to_what_was_handed_over_again_meanwhile_mean_nothing() {
        let now = Instant::now();
        let mut queue = filled(now, 1);
        queue.answer(now, 0, overloaded());
        assert_eq!(tokens(&queue.again(now + PAUSE, &twin())), [1]);

        queue.answer(now, 0, overloaded());
        assert_eq!(queue.pause(), None);
        queue.answer(now, 0, Ok(Reply::Done));
        assert!(popped(&mut queue).is_empty());
    }

    #[test]
    fn pauses_grow_until_something_is_taken() {
        let mut now = Instant::now();
        let mut queue = filled(now, 1);
        let mut pauses = Vec::new();
        for token in 0..9 {
            queue.answer(now, token, overloaded());
            let until = queue.pause().unwrap();
            pauses.push((until - now).as_millis());
            now = until;
            assert_eq!(queue.again(now, &twin()).len(), 1);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn what_failed_does_not_wait_once_another_node_leads() {
        let now = Instant::now();
        let mut queue = filled(now, 2);
        queue.answer(now, 0, Err(Error::Unknown { shard: 0, why: "lost".into() }));

        queue.hurry(now);

        assert_eq!(tokens(&queue.again(now, &twin())), [2, 3]);
        queue.hurry(now);
        assert!(queue.again(now, &twin()).is_empty(), "what is on its way is not said twice");
    }

    #[test]
    fn the_oldest_entry_is_overdue_however_often_it_was_tried() {
        let now = Instant::now();
        let limit = Duration::from_secs(20);
        let mut queue = filled(now, 1);
        queue.answer(now, 0, overloaded());

        assert!(queue.overdue(now + limit - Duration::from_millis(1), limit).is_none());
        assert!(matches!(queue.overdue(now + limit, limit), Some(Some(Error::Overloaded { .. }))));
    }
}
