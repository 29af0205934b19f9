//! `icecore proof verify`: checks a head or a proof by itself, without a server.

use super::file::{Proof, bytes, hex, read_head};
use crate::exit::Usage;
use crate::output;
use anyhow::{Result, bail};
use clap::Args;
use ed25519_dalek::{Signature, VerifyingKey};
use icecore_client::{EntryContent, TreeHead};
use std::path::PathBuf;

/// Check a head or a proof, without a server
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  icecore proof verify event.json
  icecore proof verify grown.json --head monday.json --public-key HEX

Exit code 0 if everything holds, 1 if not. Without --public-key a signature is checked against the key
that stands beside it, which shows little: give the key that you know.")]
pub(super) struct VerifyArgs {
    /// What `icecore proof head`, `event` or `consistency` printed
    file: PathBuf,
    /// A head that you have kept: the proof must lead to it, or start from it
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// The server's public key, 64 hexadecimal digits; the head must be signed with it
    #[arg(long, value_name = "HEX", value_parser = key)]
    public_key: Option<[u8; 32]>,
}

fn key(text: &str) -> Result<[u8; 32], String> {
    bytes("public key", text)
}

pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let proof = Proof::read(&args.file)?;
    check_path(&proof)?;
    let signed = check_signature(proof.head(), args.public_key)?;
    if let Some(path) = &args.head {
        let known = read_head(path)?;
        check_signature(&known, args.public_key)?;
        check_against(&proof, &known)?;
    }
    output::print(describe(&proof))?;
    output::print(signed)
}

fn check_path(proof: &Proof) -> Result<()> {
    match proof {
        Proof::Inclusion(proof) if !proof.holds() => bail!(
            "the event at position {} is NOT in the tree of {} events with root {}: the event, the \
             proof or the head was changed",
            proof.position(),
            proof.head.size,
            proof.head.root
        ),
        Proof::Consistency(proof) if !proof.holds() => bail!(
            "the tree of {} events does NOT go on from the one of {} events: history was changed, or \
             the proof was",
            proof.head.size,
            proof.old_size
        ),
        _ => Ok(()),
    }
}

fn check_signature(head: &TreeHead, known: Option<[u8; 32]>) -> Result<String> {
    let Some(signed) = &head.signature else {
        if known.is_some() {
            bail!("the head of {} events is not signed", head.size);
        }
        return Ok("the head is not signed".to_owned());
    };
    if known.is_some_and(|known| known != signed.public_key) {
        let found = hex(&signed.public_key);
        bail!(
            "the head of {} events is signed with another key, {found}",
            head.size
        );
    }
    let Ok(key) = VerifyingKey::from_bytes(&signed.public_key) else {
        return Err(Usage::new("the public key of the head is none").into());
    };
    let signature = Signature::from_bytes(&signed.signature);
    if key.verify_strict(&head.signed_bytes(), &signature).is_err() {
        bail!("the signature of the head of {} events is WRONG", head.size);
    }
    let by = if known.is_some() { "your" } else { "its own" };
    Ok(format!("signed with {by} key {}", hex(&signed.public_key)))
}

/// A head that was kept must be the one the proof leads to, or the one it starts from.
fn check_against(proof: &Proof, known: &TreeHead) -> Result<()> {
    let head = proof.head();
    if head.store_id != known.store_id {
        bail!(
            "the proof is of store {}, the head of store {}",
            head.store_id,
            known.store_id
        );
    }
    let begins = match proof {
        Proof::Consistency(proof) => Some((proof.old_size, proof.old_root)),
        _ => None,
    };
    let known_tree = (known.size, known.root);
    if (head.size, head.root) == known_tree || begins == Some(known_tree) {
        return Ok(());
    }
    bail!(
        "the proof says nothing about the head of {} events with root {}",
        known.size,
        known.root
    )
}

fn describe(proof: &Proof) -> String {
    let head = proof.head();
    match proof {
        Proof::Head(_) => format!("tree of {} events, root {}", head.size, head.root),
        Proof::Consistency(proof) => format!(
            "the tree of {} events goes on from the one of {} events",
            head.size, proof.old_size
        ),
        Proof::Inclusion(proof) => {
            let what = match &proof.entry.content {
                EntryContent::Whole { event, .. } => {
                    format!(
                        "`{}` {} of `{}`",
                        event.event_type, event.revision, event.stream
                    )
                }
                EntryContent::Erased { event, .. } => {
                    format!("the erased event {} of `{}`", event.revision, event.stream)
                }
                EntryContent::Removed { .. } => "a removed event".to_owned(),
            };
            format!(
                "position {}, {what}, is in the tree of {} events",
                proof.position(),
                head.size
            )
        }
    }
}
