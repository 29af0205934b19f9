//! The engine from outside: the contract of all engines, random operations against the model, and
//! what it says when a directory cannot be opened.

mod contract;
mod model;
mod stores;
