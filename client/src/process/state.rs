//! The state of a process: events in a stream of its own, loaded like an aggregate's.

use super::ProcessManager;
use crate::aggregate::Aggregate;
use std::convert::Infallible;

/// A process manager seen as what has events; it takes no commands.
pub(super) struct State<P>(pub(super) P);

impl<P: Default> Default for State<P> {
    fn default() -> Self {
        Self(P::default())
    }
}

impl<P: ProcessManager> Aggregate for State<P> {
    const CATEGORY: &'static str = P::NAME;
    type Event = P::Event;
    type Command = ();
    type Error = Infallible;

    fn apply(&mut self, event: &P::Event) {
        self.0.apply(event);
    }

    fn handle(&self, (): &()) -> Result<Vec<P::Event>, Infallible> {
        Ok(Vec::new())
    }
}
