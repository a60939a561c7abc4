//! How a developer says what a kind of twin does: a type with state, a table of plain functions.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::effects::Effects;
use crate::migrations::Migrations;
use crate::rejection::Rejection;
use crate::routes::Routes;

/// A kind of twin. The value is the twin's own state, kept with the twin as JSON; [`Default`] is where it starts.
///
/// Handlers are synchronous functions of (state, input, context): they read no clock and do no I/O, so that the same
/// log leads to the same twin everywhere. A handler that returns a [`Rejection`], or panics, leaves no trace in the
/// state, whatever it did before.
///
/// The state is cloned before each input that has a handler and written as JSON after it, so it should be small: up
/// to a few hundred bytes cost less than a microsecond, 64 KB is the limit.
pub trait Behavior: Clone + Default + Serialize + DeserializeOwned + Send + 'static {
    /// The name of the kind: stable, lower-case.
    const KIND: &'static str;
    /// The version of the state's shape. Raise it with a step in [`Behavior::migrations`].
    const VERSION: u32 = 1;

    /// Which input goes to which function.
    fn routes(on: &mut Routes<Self>);

    /// How states of earlier versions become one of today.
    fn migrations(_from: &mut Migrations) {}
}

/// What a handler returns: nothing, or `Result<(), Rejection>`.
pub trait Verdict {
    /// The same, as a result.
    ///
    /// # Errors
    /// The handler's refusal.
    fn verdict(self) -> Result<(), Rejection>;
}

impl Verdict for () {
    fn verdict(self) -> Result<(), Rejection> {
        Ok(())
    }
}

impl Verdict for Result<(), Rejection> {
    fn verdict(self) -> Result<(), Rejection> {
        self
    }
}

/// A function that reacts: `fn(&mut self, arguments..., fx: &mut Effects)`.
pub trait Handler<S, Arguments>: Send + Sync + 'static {
    /// Calls it.
    ///
    /// # Errors
    /// The handler's refusal.
    fn call(&self, state: &mut S, arguments: Arguments, fx: &mut Effects<'_>) -> Result<(), Rejection>;
}

macro_rules! handlers {
    ($($($argument:ident)*;)*) => {$(
        impl<S, F, R, $($argument),*> Handler<S, ($($argument,)*)> for F
        where
            F: Fn(&mut S, $($argument,)* &mut Effects<'_>) -> R + Send + Sync + 'static,
            R: Verdict,
        {
            #[allow(non_snake_case, reason = "the macro names a value like its type")]
            fn call(
                &self,
                state: &mut S,
                ($($argument,)*): ($($argument,)*),
                fx: &mut Effects<'_>,
            ) -> Result<(), Rejection> {
                self(state, $($argument,)* fx).verdict()
            }
        }
    )*};
}

handlers! {
    ;
    A;
    A B;
    A B C;
}
