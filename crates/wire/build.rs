//! Compiles `proto/icecore/v1` to Rust with protox, so that nobody installs protoc, and writes the
//! descriptors that reflection serves.

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use std::error::Error;
use std::path::Path;
use std::{env, fs};

const FILES: [&str; 7] = [
    "icecore/v1/common.proto",
    "icecore/v1/errors.proto",
    "icecore/v1/streams.proto",
    "icecore/v1/log.proto",
    "icecore/v1/operations.proto",
    "icecore/v1/maintenance.proto",
    "icecore/v1/groups.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Build scripts run in the folder of their package. A path that is written into the program would be
    // wrong in another checkout with the same target directory.
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.join("icecore").display());
    let mut descriptors = protox::compile(FILES, [root])?;

    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(
        Path::new(&out).join("icecore.v1.bin"),
        descriptors.encode_to_vec(),
    )?;

    read_strings_as_bytes(&mut descriptors);
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(false)
        .compile_fds(descriptors.clone())?;
    let server = Path::new(&out).join("server");
    fs::create_dir_all(&server)?;
    let mut configuration = tonic_prost_build::configure()
        .out_dir(server)
        .build_client(false)
        .extern_path(".icecore.v1", "crate::proto");
    for answer in ENCODED {
        configuration = configuration.extern_path(answer, "crate::Encoded");
    }
    configuration.compile_fds(descriptors)?;
    Ok(())
}

/// Answers that servers encode by hand: they are most of what is sent.
const ENCODED: [&str; 2] = [".icecore.v1.ReadResponse", ".icecore.v1.SubscribeResponse"];

/// `string` and `bytes` are the same bytes on the wire. Rust reads strings as `Bytes`, which point
/// into the received buffer instead of being copied; the conversion to `core` checks that they are
/// UTF-8 and names the field that is not. Reflection, and so every other tool, still sees strings.
fn read_strings_as_bytes(descriptors: &mut FileDescriptorSet) {
    for file in &mut descriptors.file {
        for message in &mut file.message_type {
            read_fields_as_bytes(message);
        }
    }
}

fn read_fields_as_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
    for nested in &mut message.nested_type {
        read_fields_as_bytes(nested);
    }
}
