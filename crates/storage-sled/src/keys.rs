//! Keys of the log tree: byte order is position order.
//!
//! ```text
//! 0 8  first position of the chunk, big-endian
//! 8 2  part, big-endian
//! ```
//!
//! A filler is a key of the log and one more byte; it has no value ([`crate::lot`]).

use crate::encoding::Input;

pub(crate) type LogKey = [u8; 10];

/// Where a part of a chunk stands.
pub(crate) fn log_key(first: u64, part: u16) -> LogKey {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// First position and part; `None` for a key that is none of ours.
pub(crate) fn parse_log_key(key: &[u8]) -> Option<(u64, u16)> {
    let mut input = Input::new(key);
    let parsed = (input.u64()?, input.u16()?);
    input.is_empty().then_some(parsed)
}

/// A filler behind a key of the log.
pub(crate) fn filler_key(key: LogKey, number: u8) -> [u8; 11] {
    let mut filler = [number; 11];
    filler[..10].copy_from_slice(&key);
    filler
}

/// Whether a key of the log tree is a filler.
pub(crate) fn is_filler(key: &[u8]) -> bool {
    key.len() == size_of::<LogKey>() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn byte_order_is_position_order(a: (u64, u16), b: (u64, u16)) {
            prop_assert_eq!(log_key(a.0, a.1).cmp(&log_key(b.0, b.1)), a.cmp(&b));
            prop_assert_eq!(parse_log_key(&log_key(a.0, a.1)), Some(a));
        }

        #[test]
        fn fillers_stand_between_a_key_and_the_next_one(a: (u64, u16), b: (u64, u16), number: u8) {
            let (a, b) = (a.min(b), a.max(b));
            let filler = filler_key(log_key(a.0, a.1), number);
            prop_assert!(filler[..] > log_key(a.0, a.1)[..]);
            prop_assert!(a == b || filler[..] < log_key(b.0, b.1)[..]);
            prop_assert!(is_filler(&filler) && !is_filler(&log_key(a.0, a.1)));
            prop_assert_eq!(parse_log_key(&filler), None);
        }
    }
}
