//! Torture: the built binary under load, killed again and again, and under more load than it takes.
//!
//! Every append is a pure function of a seed, its writer and its number, and its event ids say which
//! one it is. So whatever is found afterwards can be held against what was sent, byte by byte, without
//! keeping it.
//!
//! ```text
//! writers, subscribers ----> relay ----> icecore serve, killed, started again on another port ...
//!        |                                              |
//!        +---- receipts, what was seen ---> check <-----+ what it holds in the end
//! ```

mod check;
mod crowd;
mod files;
mod kills;
mod life;
mod load;
mod overload;
mod plan;
mod relay;
mod subscriber;
mod writer;

pub use kills::{Kills, Survived};
pub use overload::{Overload, Withstood};
