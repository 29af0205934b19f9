//! Which crate may use which. The drawing below is what the manifests are held to; an arrow that it
//! does not have is a decision, not a line in a `Cargo.toml`.
//!
//! ```text
//!                   core <- model
//!                 ^      ^
//!          storage        wire
//!          ^     ^        ^   ^
//! storage-sled eventstore |    client <- cli, testing, tests, xtask
//!          ^     ^  ^     |
//!          |     | kurrent|
//!           server -------+    <- cli, testing
//!
//! projection-sqlx -> client
//! disk-trials -> storage, storage-sled
//! fuzzing     -> storage, storage-sled, eventstore, wire, model
//! xtask       -> tests                   everybody may use core; arrows of tests only are in the list
//! ```

use cargo_metadata::{DependencyKind, Metadata, Package};

/// A crate and what it may use of ours beside `core`: in the product, and in its tests only.
struct Crate {
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
}

const fn arrows(
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
) -> Crate {
    Crate {
        name,
        uses,
        tests_use,
    }
}

/// The drawing.
const DRAWING: &[Crate] = &[
    arrows("core", &[], &[]),
    arrows("storage", &[], &["storage"]),
    arrows("wire", &[], &[]),
    arrows("storage-sled", &["storage"], &["storage", "storage-sled"]),
    arrows("eventstore", &["storage"], &["model", "storage"]),
    arrows("kurrent", &["eventstore"], &["storage"]),
    // `engine.rs` picks the engine, and the health that engines tell is said by HTTP.
    arrows(
        "server",
        &["eventstore", "kurrent", "storage", "storage-sled", "wire"],
        &["client"],
    ),
    // Its examples keep read models in databases.
    arrows("client", &["wire"], &["projection-sqlx", "testing"]),
    // The door for KurrentDB clients is measured with a client of its own.
    arrows("cli", &["client", "kurrent", "server"], &["testing"]),
    // A sink of the client's projections; its tests run them against a server.
    arrows("projection-sqlx", &["client"], &["testing"]),
    // It watches the engine alone: a server around it would add writes of its own.
    arrows("disk-trials", &["storage", "storage-sled"], &[]),
    // The rules a second time and the checker of histories; only tests hold a store to them.
    arrows("model", &[], &[]),
    // It calls whatever reads foreign bytes.
    arrows(
        "fuzzing",
        &["eventstore", "model", "storage", "storage-sled", "wire"],
        &[],
    ),
    arrows("testing", &["client", "server"], &["model"]),
    // The contract of storage is shown over the wire, and what no client says in the wire's own words.
    arrows("tests", &["client"], &["storage", "testing", "wire"]),
    // Adapters to brokers, a crate each, so that the client stays light.
    arrows("relay-nats", &["client"], &[]),
    arrows("relay-rabbitmq", &["client"], &[]),
    arrows(
        "relay-trials",
        &["client", "relay-nats", "relay-rabbitmq", "testing"],
        &[],
    ),
    arrows("xtask", &["client", "tests"], &[]),
];

/// Crates that one crate alone may name.
const ONLY: &[(&str, &[&str])] = &[
    ("sled", &["storage-sled"]),
    (
        "tonic",
        &["client", "fuzzing", "kurrent", "server", "tests", "wire"],
    ),
    ("serde", &["cli", "client", "tests", "xtask"]),
];

/// The complaints about the arrows between the members of the workspace.
pub(crate) fn check(members: &Metadata) -> Vec<String> {
    let packages = members.packages.iter();
    packages.flat_map(complaints).collect()
}

fn complaints(package: &Package) -> Vec<String> {
    let Some(name) = ours(&package.name) else {
        return vec![format!("{}: name it icecore-<folder>", package.name)];
    };
    let Some(drawn) = DRAWING.iter().find(|drawn| drawn.name == name) else {
        return vec![format!("{name}: the drawing does not have this crate")];
    };
    let mut complaints = Vec::new();
    let mut complain = |used: &str| complaints.push(format!("{name} must not use {used}"));
    for dependency in &package.dependencies {
        let used = &dependency.name;
        let in_product = dependency.kind != DependencyKind::Development;
        match ours(used) {
            None => {
                let only = ONLY.iter().find(|(crate_name, _)| crate_name == used);
                if in_product && only.is_some_and(|(_, by)| !by.contains(&name)) {
                    complain(used);
                }
            }
            Some("core") => {}
            Some(used) => {
                let allowed =
                    drawn.uses.contains(&used) || (!in_product && drawn.tests_use.contains(&used));
                if !allowed {
                    complain(used);
                }
            }
        }
    }
    complaints
}

/// The folder of one of our crates.
fn ours(package: &str) -> Option<&str> {
    package.strip_prefix("icecore-")
}
