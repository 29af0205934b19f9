//! The engine from outside: the contract of all engines, random operations against the model, what
//! it says when a directory cannot be opened, what it does about damage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod damage;
mod fixture;
mod model;
mod opening;
mod raw;
mod readers;
mod space;
mod stores;
mod syncs;
mod system;
