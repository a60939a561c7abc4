//! Who a client is, and what it may do. Asked when the connection begins, and when its client authenticates anew; what
//! changes that in between ends it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use runtime::access::{Access, Answer, Denied, Identity, Shown, Verb};
use runtime::router::Router;
use twins::header::Principal;
use twins::id::TwinId;
use twins::name::Name;
use twins::trust::Proof;

use crate::quotas::Account;

/// What a client shows at CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(super) username: Option<String>,
    pub(super) client: String,
    pub(super) password: Option<Vec<u8>>,
    pub(super) certificates: Arc<[Bytes]>,
    /// A challenge, and the answer to it.
    pub(super) answer: Option<([u8; 32], Vec<u8>)>,
    pub(super) address: IpAddr,
}

/// A device that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(in super::super) twin: TwinId,
    /// The kind to register it as, if it is unknown.
    pub(super) register: Option<Name>,
    pub(in super::super) proof: Proof,
    pub(super) principal: Principal,
    pub(super) rights: Rights,
    /// What it takes is taken of this.
    pub(in super::super) account: Option<Account>,
}

/// What it may do with its own twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(super) reads: bool,
    pub(super) speaks: bool,
    pub(super) controls: bool,
}

impl Login {
    /// Presents it.
    ///
    /// # Errors
    /// Why the client is not let in. Applications are not, here.
    pub(crate) async fn present(&self, router: &Router) -> Result<Admitted, Denied> {
        let access = router.access();
        Admitted::of(access.device(router, self.shown()).await?, access)
    }

    /// Its client id, as it gave it.
    pub(crate) fn client(&self) -> &str {
        &self.client
    }

    /// What the client shows.
    pub(crate) fn shown(&self) -> Shown<'_> {
        let Self { username, client, password, certificates, answer, address } = self;
        let (username, password) = (username.as_deref(), password.as_deref());
        let answer = answer.as_ref().map(|(random, mac)| Answer { random, mac });
        Shown { username, client, password, certificates, answer, address: Some(*address) }
    }
}

impl Admitted {
    /// What somebody who was let in may do.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] when that is no device.
    pub(crate) fn of(identity: Identity, access: &dyn Access) -> Result<Self, Denied> {
        let principal = identity.principal();
        let Identity::Device { twin, register, proof } = &identity else {
            return Err(Denied::Forbidden("only devices connect here".into()));
        };
        let may = |verb| access.authorize(&identity, verb, twin, "").is_ok();
        let rights =
            Rights { reads: may(Verb::Read), speaks: may(Verb::Speak), controls: may(Verb::Control) };
        let (twin, register, proof) = (twin.clone(), register.clone(), proof.clone());
        Ok(Self { twin, register, proof, principal, rights, account: None })
    }

    /// Who was let in.
    pub(in super::super) fn identity(&self) -> Identity {
        let Self { twin, register, proof, .. } = self;
        Identity::Device { twin: twin.clone(), register: register.clone(), proof: proof.clone() }
    }
}
