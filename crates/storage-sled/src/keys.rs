//! Keys of the log tree: byte order is position order.
//!
//! ```text
//! 0 8  first position of the chunk, big-endian
//! 8 2  part, big-endian
//! ```

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
    }
}
