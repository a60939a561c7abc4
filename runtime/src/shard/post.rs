//! Handing out answers and deliveries: everything for one connection goes into its mailbox at once.

use std::sync::Arc;

use crate::error::Outcome;
use crate::mailbox::{Mail, Mailbox};

use super::work::{Answer, Asker};

/// Mail of the connection at hand, until another one's turn comes.
#[derive(Default)]
pub(super) struct Post {
    mailbox: Option<Arc<Mailbox>>,
    mail: Vec<Mail>,
}

impl Post {
    pub(super) fn answer(&mut self, mut answer: Answer, outcome: Outcome) {
        match answer.take() {
            Asker::Mailbox { mailbox, token } => self.put(&mailbox, Mail::Reply { token, outcome }),
            other => other.hear(outcome),
        }
    }

    pub(super) fn put(&mut self, mailbox: &Arc<Mailbox>, mail: Mail) {
        if !self.mailbox.as_ref().is_some_and(|held| Arc::ptr_eq(held, mailbox)) {
            self.flush();
            self.mailbox = Some(mailbox.clone());
        }
        self.mail.push(mail);
    }

    fn flush(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.put(self.mail.drain(..));
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.flush();
    }
}
