//! A behaviour without its type: the one place where types are erased, so that a shard can host all kinds alike.

use std::any::Any;

use crate::behavior::Behavior;
use crate::command::Outcome;
use crate::context::Context;
use crate::effects::{Effects, property_path};
use crate::json::{Document, Json, Pointer};
use crate::migrations::Migrations;
use crate::rejection::{Code, Rejection};
use crate::routes::{Callable, Described, Given, Plane, Reaction, Routes};
use crate::twin::State;

/// A behaviour's decoded state.
pub(crate) type Decoded = Box<dyn Any + Send>;

/// The member that holds a state which is not an object itself.
const WRAPPED: &str = "$state";

/// What a kind can do, for any behaviour.
pub(crate) trait Logic: Send + Sync {
    /// The version of the states that it writes.
    fn version(&self) -> u32;

    /// The lines of its contract.
    fn described(&self) -> &[Described];

    /// Whether there is a reaction to `name`, which may be a former one.
    fn reacts(&self, plane: Plane, name: &str) -> bool;

    /// Reacts, where there is a reaction.
    fn react(
        &self,
        state: &mut Decoded,
        plane: Plane,
        name: &str,
        told: (&Json, Option<Outcome>),
        fx: &mut Effects<'_>,
    ) -> Result<(), Rejection>;

    /// The properties of the desired or the reported section that it reacts to.
    fn properties(&self, plane: Plane) -> &[Property];

    /// Whether `name` is a method, a query, or nothing.
    fn callable(&self, name: &str) -> Option<Plane>;

    /// Calls a method.
    fn call(
        &self,
        state: &mut Decoded,
        name: &str,
        argument: &Json,
        fx: &mut Effects<'_>,
    ) -> Result<Json, Rejection>;

    /// Asks a query.
    fn ask(
        &self,
        state: &Decoded,
        name: &str,
        argument: &Json,
        context: &Context<'_>,
    ) -> Result<Json, Rejection>;

    /// Reads a state of this or an earlier version.
    fn load(&self, state: &State) -> Result<Decoded, Rejection>;

    /// Writes a state.
    fn save(&self, state: &Decoded) -> Result<Document, Rejection>;

    /// Copies a state.
    fn copy(&self, state: &Decoded) -> Decoded;
}

/// A property that a behaviour reacts to.
pub(crate) struct Property {
    /// Its name, which may be a former one.
    pub(crate) name: &'static str,
    /// Whether it is an object of instances.
    pub(crate) keyed: bool,
    /// Where it stands in its section.
    pub(crate) path: Pointer,
}

/// The behaviour `B`.
pub(crate) struct Typed<B> {
    routes: Routes<B>,
    migrations: Migrations,
    desired: Vec<Property>,
    reported: Vec<Property>,
}

impl<B: Behavior> Typed<B> {
    pub(crate) fn new() -> Self {
        let (mut routes, mut migrations) = (Routes::new(), Migrations::default());
        B::routes(&mut routes);
        B::migrations(&mut migrations);
        let properties = |plane| -> Vec<Property> {
            let of_plane = routes.reactions.get(&plane).into_iter().flatten();
            let path = |name| property_path(name, None);
            of_plane.map(|(name, r)| Property { name, keyed: r.keyed, path: path(name) }).collect()
        };
        let (desired, reported) = (properties(Plane::Desired), properties(Plane::Reported));
        Self { routes, migrations, desired, reported }
    }

    /// The reaction to `name`: an item of that name, or an instance of a keyed one.
    fn resolve<'n>(&self, plane: Plane, name: &'n str) -> Option<(&Reaction<B>, Option<&'n str>)> {
        let reactions = self.routes.reactions.get(&plane)?;
        if let Some(reaction) = reactions.get(name).filter(|reaction| !reaction.keyed) {
            return Some((reaction, None));
        }
        let (name, key) = name.rsplit_once('/')?;
        let reaction = reactions.get(name).filter(|reaction| reaction.keyed)?;
        Some((reaction, Some(key)))
    }
}

/// A twin's state is decoded and handled by the same kind, so its type is the kind's.
fn own<B: 'static>(state: &Decoded) -> &B {
    state.downcast_ref().expect("a state is handled by the kind that decoded it")
}

fn own_mut<B: 'static>(state: &mut Decoded) -> &mut B {
    state.downcast_mut().expect("a state is handled by the kind that decoded it")
}

impl<B: Behavior> Logic for Typed<B> {
    fn version(&self) -> u32 {
        B::VERSION
    }

    fn described(&self) -> &[Described] {
        &self.routes.described
    }

    fn reacts(&self, plane: Plane, name: &str) -> bool {
        self.resolve(plane, name).is_some()
    }

    fn react(
        &self,
        state: &mut Decoded,
        plane: Plane,
        name: &str,
        (value, outcome): (&Json, Option<Outcome>),
        fx: &mut Effects<'_>,
    ) -> Result<(), Rejection> {
        let Some((reaction, key)) = self.resolve(plane, name) else { return Ok(()) };
        (reaction.function)(own_mut(state), Given { key, value, outcome }, fx)
    }

    fn properties(&self, plane: Plane) -> &[Property] {
        match plane {
            Plane::Desired => &self.desired,
            Plane::Reported => &self.reported,
            _ => &[],
        }
    }

    fn callable(&self, name: &str) -> Option<Plane> {
        Some(match self.routes.methods.get(name)? {
            Callable::Method(_) => Plane::Method,
            Callable::Query(_) => Plane::Query,
        })
    }

    fn call(
        &self,
        state: &mut Decoded,
        name: &str,
        argument: &Json,
        fx: &mut Effects<'_>,
    ) -> Result<Json, Rejection> {
        match self.routes.methods.get(name) {
            Some(Callable::Method(call)) => call(own_mut(state), argument, fx),
            _ => Err(Rejection::new(Code::UnknownMethod, format!("`{}` has no method `{name}`", B::KIND))),
        }
    }

    fn ask(
        &self,
        state: &Decoded,
        name: &str,
        argument: &Json,
        context: &Context<'_>,
    ) -> Result<Json, Rejection> {
        match self.routes.methods.get(name) {
            Some(Callable::Query(ask)) => ask(own(state), argument, context),
            _ => Err(Rejection::new(Code::UnknownMethod, format!("`{}` has no query `{name}`", B::KIND))),
        }
    }

    fn load(&self, state: &State) -> Result<Decoded, Rejection> {
        let State { version, document } = state;
        match *version {
            0 => Ok(Box::new(B::default())),
            version if version == B::VERSION => match document.get(&format!("/{WRAPPED}")) {
                Some(wrapped) => Ok(Box::new(wrapped.decode::<B>()?)),
                None => Ok(Box::new(document.decode::<B>()?)),
            },
            version if version < B::VERSION => {
                let mut value: serde_json::Value = document.decode()?;
                if let Some(wrapped) = value.get_mut(WRAPPED) {
                    value = wrapped.take();
                }
                self.migrations.migrate(&mut value, version, B::VERSION);
                let state: B = Json::of(&value)?.decode()?;
                Ok(Box::new(state))
            }
            version => {
                let (kind, own) = (B::KIND, B::VERSION);
                let why = format!("the state is of version {version} of kind `{kind}`; this binary has version {own}");
                Err(Rejection::new(Code::NewerState, why))
            }
        }
    }

    fn save(&self, state: &Decoded) -> Result<Document, Rejection> {
        let state: &B = own(state);
        let failed = |error| Rejection::new(Code::BehaviorFailed, format!("the state has no JSON: {error}"));
        let json = Json::of(state).map_err(failed)?;
        if json.is_object() {
            return Document::try_from(json).map_err(failed);
        }
        Document::of(&std::collections::BTreeMap::from([(WRAPPED, serde_json::value::to_raw_value(state).ok())]))
            .map_err(failed)
    }

    fn copy(&self, state: &Decoded) -> Decoded {
        Box::new(own::<B>(state).clone())
    }
}
