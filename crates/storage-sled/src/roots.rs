//! Roots of subtrees of the tree over all events, which the store above computes and asks for again.
//! Derivable from the log at any time; a damaged or missing group is as if it had never been kept.
//!
//! ```text
//! tree `roots`, key: group (8), from 0; value:
//!  0  4  magic "ICEH"
//!  4  1  format
//!  5 16  store id
//! 21  8  group, as in the key
//! 29  4  CRC32C of bytes 0..29 and the roots
//! 33 ..  128 roots of 256 events each, 32 bytes a root
//! ```

use crate::budget::Write;
use crate::directory::FORMAT;
use crate::encoding::Input;
use crate::engine::Fault;
use crate::store::Store;
use icecore_core::{Error, Hash, Result, StoreId};
use icecore_storage::ROOTS_PER_GROUP;

const MAGIC: [u8; 4] = *b"ICEH";
const CHECKED_BYTES: usize = 29;
const HASH_BYTES: usize = 32;

/// Keeps the roots of one group. Blocks.
pub(crate) fn keep(store: &Store, group: u64, roots: &[Hash]) -> Result<()> {
    if roots.len() != ROOTS_PER_GROUP {
        return Err(Error::internal(format!(
            "a group of {} roots, it must be {ROOTS_PER_GROUP}",
            roots.len()
        )));
    }
    store.check_writable()?;
    let value = encode(store.id, group, roots);
    let failed = |fault: Fault| {
        store.fail(&fault.0);
        Error::unavailable(fault.0)
    };
    let write = Write::Index { bytes: value.len() };
    let mut writing = store.engine.write_when_admitted(write).map_err(failed)?;
    writing.put_roots(group, value).map_err(failed)
}

/// The roots from subtree `from` to the end of its group. Blocks.
pub(crate) fn read(store: &Store, from: u64) -> Result<Vec<Hash>> {
    let group = from / ROOTS_PER_GROUP as u64;
    let value = store
        .engine
        .root_group(group)
        .map_err(|fault| Error::corrupted(fault.0))?;
    let roots = value.and_then(|value| {
        let roots = decode(&value, store.id, group);
        if roots.is_none() {
            tracing::warn!(group, "kept roots are damaged; they are computed again");
        }
        roots
    });
    let skip = usize::try_from(from % ROOTS_PER_GROUP as u64).unwrap_or(0);
    Ok(roots.unwrap_or_default().into_iter().skip(skip).collect())
}

pub(crate) fn encode(store_id: StoreId, group: u64, roots: &[Hash]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKED_BYTES + 4 + roots.len() * HASH_BYTES);
    out.extend_from_slice(&MAGIC);
    out.push(FORMAT);
    out.extend_from_slice(store_id.get().as_bytes());
    out.extend_from_slice(&group.to_be_bytes());
    let mut checksum = crc32c::crc32c(&out);
    for root in roots {
        checksum = crc32c::crc32c_append(checksum, &root.0);
    }
    out.extend_from_slice(&checksum.to_be_bytes());
    for root in roots {
        out.extend_from_slice(&root.0);
    }
    out
}

pub(crate) fn decode(value: &[u8], store_id: StoreId, group: u64) -> Option<Vec<Hash>> {
    let mut input = Input::new(value);
    input.take(CHECKED_BYTES + 4)?;
    let mut roots = Vec::with_capacity(ROOTS_PER_GROUP);
    while !input.is_empty() {
        roots.push(Hash(input.array()?));
    }
    let whole = roots.len() == ROOTS_PER_GROUP && encode(store_id, group, &roots) == value;
    whole.then_some(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_damaged_group_is_as_if_it_was_not_there() {
        let id = StoreId::new(Uuid::from_u128(1));
        let roots: Vec<_> = (0..ROOTS_PER_GROUP).map(|_| Hash([7; 32])).collect();
        let value = encode(id, 3, &roots);
        assert_eq!(decode(&value, id, 3), Some(roots));
        assert_eq!(decode(&value, id, 4), None);
        for at in [0, 4, 10, 28, 30, 40, value.len() - 1] {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged, id, 3), None, "byte {at}");
        }
        assert_eq!(decode(&value[..value.len() - 1], id, 3), None);
    }
}
