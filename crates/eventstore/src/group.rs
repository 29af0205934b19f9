//! Groups of persistent subscriptions: the store keeps their place, hands events out to their
//! consumers, and takes their answers. Both protocols stand on it.
//!
//! What groups there are: `group/registry.rs`, kept by `group/config.rs`. A group with consumers is
//! awake (`group/slot.rs`): one task (`group/task.rs`) that moves a machine (`group/machine.rs`), which decides
//! everything, reads (`group/source.rs`) and remembers in events (`group/books.rs`). A group without
//! consumers costs nothing but its settings. What is parked: `group/parked.rs`. Appends that finish
//! deliveries: `group/finish.rs`. What is counted: `group/figures.rs`.

mod arrival;
mod books;
mod command;
mod config;
mod consumer;
mod figures;
mod finish;
mod machine;
mod parked;
mod progress;
mod registry;
mod slot;
mod source;
mod task;

pub use consumer::{GroupConsumer, GroupDeliveries};
pub use figures::GroupFigures;
pub(crate) use registry::Groups;
