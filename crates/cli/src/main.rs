//! The `icecore` binary: `icecore serve` is the server, the other commands are its users' tools.

fn main() {}
