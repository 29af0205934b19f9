//! Whatever `core` can say goes to bytes and back unchanged, and whatever bytes arrive, decoding them
//! ends in a value or in an error.

mod fields;
mod groups;
mod log;
mod maintenance;
mod random_bytes;
mod round_trips;
mod sessions;
mod strategies;
