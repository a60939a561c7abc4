//! Access for a node in the open: nobody is let in but who shows what the directory knows, and nobody may do more than
//! it says at that moment.
//!
//! What somebody may is looked up again for each thing that they want, in memory, so that a change counts at once, also
//! for those who were let in before it.

use std::sync::Arc;

use runtime::access::{Access, Admitting, Denied, Identity, Shown, Verb, reach_of_device};
use runtime::clock::Clock;
use runtime::directory::{Definitions, Directory, Limits, Listener, Reach, Role, Token, TokenId, Who};
use runtime::router::Router;
use twins::id::{DEFAULT_TENANT, TwinId};

use super::authority::Roots;
use super::devices::Devices;
use super::guesses::Guesses;
use super::token::Text;
use super::vault::Vault;

/// Lets in whom the directory knows, and devices that prove who they are.
pub struct Guarded {
    definitions: Arc<dyn Definitions>,
    clock: Arc<dyn Clock>,
    devices: Devices,
}

impl Guarded {
    /// By this directory and this clock, which says when a token ends. `vault` is the one under which the keys of devices
    /// are kept, `guesses` slow down who guesses, and `audience` is whom the tokens that devices sign must be for.
    pub fn new(
        definitions: Arc<dyn Definitions>,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        guesses: Guesses,
        audience: String,
    ) -> Self {
        let devices = Devices::new(definitions.clone(), clock.clone(), vault, guesses, audience);
        Self { definitions, clock, devices }
    }

    /// Who is believed when they sign for devices: what the doors with TLS have to know.
    pub fn roots(&self) -> Arc<Roots> {
        self.devices.roots()
    }

    /// The token, if it still lets somebody in.
    fn token<'a>(&self, directory: &'a Directory, id: TokenId) -> Result<&'a Token, Denied> {
        let refused = |why: &str| Denied::Unauthenticated(why.into());
        let token = directory.tokens.get(&id).ok_or_else(|| refused(UNKNOWN))?;
        if token.expires <= self.clock.now() {
            return Err(refused("the token has expired"));
        }
        let tenant = directory.tenants.get(&token.tenant).filter(|tenant| !tenant.disabled);
        let owner = tenant.and_then(|tenant| tenant.principals.get(&token.owner));
        match owner.is_some_and(|owner| !owner.disabled) {
            true => Ok(token),
            false => Err(refused("the token's owner, or their tenant, is disabled")),
        }
    }

    /// What is asked of the directory about somebody; `None` of those of whom it knows nothing.
    fn ask<T>(&self, who: &Identity, ask: impl FnOnce(&Directory, Who<'_>) -> T) -> Result<T, Denied> {
        let directory = self.definitions.current();
        match who {
            Identity::User { tenant, name, token: Some(token) } => {
                let scope = self.token(&directory, *token)?.scope;
                Ok(ask(&directory, Who { tenant, name, scope }))
            }
            Identity::User { token: None, .. } => Err(Denied::Unauthenticated("no token was shown".into())),
            Identity::Device { .. } => Err(Denied::Forbidden("a device only speaks for itself".into())),
        }
    }
}

/// The same whether the number or the secret is wrong: a number proves nothing.
const UNKNOWN: &str = "there is no such token; it was removed, or is another node's";

impl Access for Guarded {
    fn bearer(&self, token: Option<&str>) -> Result<Identity, Denied> {
        let refused = |why: &str| Denied::Unauthenticated(why.into());
        let text = token.ok_or_else(|| refused("no token was shown"))?;
        let text = Text::parse(text).ok_or_else(|| refused("what was shown is no token"))?;
        let directory = self.definitions.current();
        let known = directory.tokens.get(&text.id()).filter(|known| known.digest == text.digest());
        known.ok_or_else(|| refused(UNKNOWN))?;
        let known = self.token(&directory, text.id())?;
        let (tenant, name) = (known.tenant.clone(), known.owner.clone());
        Ok(Identity::User { tenant, name, token: Some(text.id()) })
    }

    fn device<'a>(&'a self, router: &'a Router, shown: Shown<'a>) -> Admitting<'a> {
        Box::pin(self.devices.admit(router, shown))
    }

    fn reach(&self, who: &Identity, verb: Verb, twin: &TwinId) -> Reach {
        if let Identity::Device { twin: own, proof, .. } = who {
            return match self.devices.confirm(own, proof) {
                Ok(()) => reach_of_device(own, verb, twin),
                Err(_) => Reach::nothing(),
            };
        }
        self.ask(who, |directory, who| directory.reach(who, verb, twin)).unwrap_or_else(|_| Reach::nothing())
    }

    fn govern(&self, who: &Identity, verb: Verb) -> Result<(), Denied> {
        let verdict = self.ask(who, |directory, who| directory.governs(who, verb))?;
        if verdict.allowed {
            return Ok(());
        }
        let because: Vec<_> = verdict.because.iter().map(ToString::to_string).collect();
        let (who, verb) = (who.principal(), verb.as_str());
        Err(Denied::Forbidden(format!("{who} may not {verb} here: {}", because.join(", "))))
    }

    /// Admins of the default tenant do.
    fn operate(&self, who: &Identity) -> Result<(), Denied> {
        if who.tenant() != DEFAULT_TENANT {
            let role = Role::Admin.as_str();
            let why =
                format!("only who has the role `{role}` in the tenant `{DEFAULT_TENANT}` operates the node");
            return Err(Denied::Forbidden(why));
        }
        self.govern(who, Verb::Administer)
    }

    fn confirm(&self, who: &Identity) -> Result<(), Denied> {
        match who {
            Identity::Device { twin, proof, .. } => self.devices.confirm(twin, proof),
            Identity::User { .. } => self.ask(who, |_, _| ()),
        }
    }

    fn limits(&self, tenant: &str) -> Limits {
        let directory = self.definitions.current();
        directory.tenants.get(tenant).map(|tenant| tenant.limits).unwrap_or_default()
    }

    fn changes(&self) -> Option<Listener> {
        Some(self.definitions.changes())
    }
}
