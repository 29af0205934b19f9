//! Compiles `proto/kurrent` to Rust with protox, so that nobody installs protoc, and writes the
//! descriptors that reflection serves.

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use std::error::Error;
use std::path::Path;
use std::{env, fs};

const FILES: [&str; 11] = [
    "kurrent/streams.proto",
    "kurrent/persistent.proto",
    "kurrent/projections.proto",
    "kurrent/users.proto",
    "kurrent/operations.proto",
    "kurrent/gossip.proto",
    "kurrent/server_features.proto",
    "kurrent/monitoring.proto",
    "kurrent/streams_v2.proto",
    "kurrent/streams_v2_errors.proto",
    "kurrent/rpc.proto",
];

/// What comes in large numbers: an event of an append.
const PROPOSED: &str = "ProposedMessage";

/// What goes out in large numbers is encoded by hand: the answers to reads.
const ENCODED: (&str, &str) = (
    ".event_store.client.streams.ReadResp",
    "crate::streams::ReadAnswer",
);

/// Packages and the modules of their messages.
const PACKAGES: [(&str, &str); 4] = [
    (".event_store", "crate::proto::event_store"),
    (".kurrentdb", "crate::proto::kurrentdb"),
    (".google.rpc", "crate::proto::google::rpc"),
    (".kurrent", "crate::proto::kurrent"),
];

fn main() -> Result<(), Box<dyn Error>> {
    // Build scripts run in the folder of their package. A path that is written into the program would be
    // wrong in another checkout with the same target directory.
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.join("kurrent").display());
    let mut descriptors = protox::compile(FILES, [root])?;

    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let out = Path::new(&out);
    fs::write(out.join("kurrent.bin"), descriptors.encode_to_vec())?;

    adapt(&mut descriptors);
    // Details of errors travel with their names.
    let mut named = tonic_prost_build::Config::new();
    named.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(false)
        .include_file("messages.rs")
        .compile_fds_with_config(descriptors.clone(), named)?;
    let servers = out.join("servers");
    fs::create_dir_all(&servers)?;
    let mut configuration = tonic_prost_build::configure()
        .out_dir(servers)
        .build_client(false)
        .extern_path(ENCODED.0, ENCODED.1);
    for (package, module) in PACKAGES {
        configuration = configuration.extern_path(package, module);
    }
    configuration.compile_fds(descriptors)?;
    Ok(())
}

/// What is generated for Rust differs from the protocol where that changes nothing on the wire.
///
/// Texts of proposed events are read as `Bytes`, which point into the received buffer instead of being
/// copied, and their metadata as a list of entries instead of a map. Nothing is deprecated, since old
/// clients are served too.
fn adapt(descriptors: &mut FileDescriptorSet) {
    for file in &mut descriptors.file {
        // The entries of maps have no place in the sources that comments could be taken from.
        file.source_code_info = None;
        for message in &mut file.message_type {
            adapt_message(message);
        }
    }
}

fn adapt_message(message: &mut DescriptorProto) {
    for field in &mut message.field {
        field.options = None;
    }
    let is_proposed = message.name() == PROPOSED;
    for nested in &mut message.nested_type {
        if is_proposed {
            read_entry_as_bytes(nested);
        }
        adapt_message(nested);
    }
}

fn read_entry_as_bytes(entry: &mut DescriptorProto) {
    entry.options = None;
    for field in &mut entry.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
}
