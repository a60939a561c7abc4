//! A device, and the session of its gateway: it numbers what it says, and says again what was not taken.

use std::sync::Arc;
use std::time::Duration;

use runtime::error::{Error, Outcome};
use runtime::mailbox::{Mail, Mailbox};
use runtime::router::{Router, Submission};
use tokio::time::{sleep, timeout};
use twins::command::CommandId;
use twins::header::{Header, Mark, Transport};
use twins::id::TwinId;
use twins::input::{Input, Message};
use twins::name::Name;
use twins::rejection::Code;
use twins::reply::{Closed, Delivery, Reply};
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::trust::Proof;

/// Nobody waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(15);

pub struct Device {
    router: Router,
    mailbox: Arc<Mailbox>,
    pub twin: TwinId,
    epoch: u64,
    token: u64,
    n: u64,
    answers: Vec<(u64, Outcome)>,
    /// The commands that came, each once, with the attempt; and how often one came that had come before.
    pub commands: Vec<(CommandId, u32)>,
    pub repeated: usize,
    pub requests: Vec<Name>,
    pub closed: Option<Closed>,
}

impl Device {
    pub async fn connect(router: &Router, twin: &TwinId) -> Self {
        let mut device = Self {
            router: router.clone(),
            mailbox: Arc::default(),
            twin: twin.clone(),
            epoch: 0,
            token: 0,
            n: 0,
            answers: Vec::new(),
            commands: Vec::new(),
            repeated: 0,
            requests: Vec::new(),
            closed: None,
        };
        let (node, generation) = router.node();
        let address = Name::fixed("127.0.0.1");
        let connection = Connection { node, generation, transport: Transport::Mqtt, address };
        let connect = Connect {
            client: Name::fixed("c"),
            keep: false,
            resumes: false,
            connection,
            expiry_s: None,
            will: None,
            proof: Proof::Open,
        };
        let input = Input::Connect { connect, register: Some(Name::fixed("device")) };
        loop {
            let token = device.submit(vec![(Header::default(), input.clone())]);
            match device.answer(token).await {
                Ok(Reply::Connected { epoch, .. }) => {
                    device.epoch = epoch;
                    router.attach(&device.mailbox, twin, epoch);
                    return device;
                }
                Err(error) if passes(&error) => sleep(Duration::from_millis(10)).await,
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn listen(&mut self) {
        let subscription =
            |topic, filter| Subscription { filter: Name::fixed(filter), topic, qos: 1, identifier: None };
        let all =
            vec![subscription(Topic::Commands, "commands"), subscription(Topic::Requests, "requests/+/+")];
        self.tell(vec![Input::Subscribe(all)]).await;
    }

    /// Says these in order, and waits until all are taken.
    pub async fn tell(&mut self, inputs: Vec<Input>) {
        let mut left: Vec<(Header, Input)> = Vec::new();
        for input in inputs {
            self.n += 1;
            let mark = Some(Mark { epoch: self.epoch, n: self.n });
            left.push((Header { mark, ..Header::default() }, input));
        }
        while !left.is_empty() {
            let last = self.submit(left.clone());
            let mut taken = 0;
            let mut failed = false;
            for token in last + 1 - left.len() as u64..=last {
                match self.answer(token).await {
                    Ok(_) if !failed => taken += 1,
                    Ok(_) => {}
                    Err(error) if passes(&error) => failed = true,
                    Err(error) => panic!("{error}"),
                }
            }
            left.drain(..taken);
            if failed {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Acknowledges all commands that came.
    pub async fn acknowledge(&mut self) {
        let all = std::mem::take(&mut self.commands);
        self.tell(all.into_iter().map(|(id, _)| Input::Acknowledge(Message::Command(id))).collect()).await;
    }

    /// Waits until something has come.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.take(what).await;
        }
    }

    fn submit(&mut self, inputs: Vec<(Header, Input)>) -> u64 {
        let submissions = inputs.into_iter().map(|(header, input)| {
            self.token += 1;
            Submission { token: self.token, twin: self.twin.clone(), header, input }
        });
        let submissions: Vec<_> = submissions.collect();
        self.router.submit(&self.mailbox, submissions);
        self.token
    }

    async fn answer(&mut self, token: u64) -> Outcome {
        loop {
            if let Some(index) = self.answers.iter().position(|(of, _)| *of == token) {
                return self.answers.swap_remove(index).1;
            }
            self.take("an answer").await;
        }
    }

    async fn take(&mut self, what: &str) {
        let mut mail = Vec::new();
        let taken = timeout(PATIENCE, self.mailbox.take(&mut mail)).await;
        taken.unwrap_or_else(|_| panic!("`{}` waits for {what}", self.twin));
        for mail in mail {
            match mail {
                Mail::Reply { token, outcome } => self.answers.push((token, outcome)),
                Mail::Again => {}
                Mail::Delivery { what, .. } | Mail::Redelivery { what, .. } => match what {
                    Delivery::Command { id, attempt, .. } => match self.commands.contains(&(id, attempt)) {
                        true => self.repeated += 1,
                        false => self.commands.push((id, attempt)),
                    },
                    Delivery::Request { id, .. } => self.requests.push(id),
                    Delivery::Close(closed) => self.closed = Some(closed),
                    Delivery::Desired { .. } => {}
                },
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.mailbox.close();
        self.router.detach(&self.mailbox, &self.twin);
    }
}

fn passes(error: &Error) -> bool {
    match error {
        Error::Overloaded { .. } | Error::Unwritten { .. } | Error::Unknown { .. } => true,
        Error::Rejected(rejection) => rejection.code() == Code::OutOfOrder,
        Error::Stopping => false,
    }
}
