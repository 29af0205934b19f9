//! Ids in their two forms: as text, and as two signed numbers.

use crate::proto::event_store::client as proto;
use icecore_core::{Error, Result};
use uuid::Uuid;

/// In which form a caller wants ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdForm {
    Text,
    Structured,
}

/// An id as it came.
///
/// # Errors
///
/// `InvalidArgument`, when there is none or its text is no id.
pub(crate) fn read(id: Option<&proto::Uuid>) -> Result<Uuid> {
    match id.and_then(|id| id.value.as_ref()) {
        Some(proto::uuid::Value::String(text)) => {
            Uuid::try_parse(text).map_err(|_| Error::invalid("id", format!("`{text}` is no UUID")))
        }
        Some(proto::uuid::Value::Structured(halves)) => Ok(Uuid::from_u64_pair(
            halves.most_significant_bits.cast_unsigned(),
            halves.least_significant_bits.cast_unsigned(),
        )),
        None => Err(Error::invalid("id", "is missing")),
    }
}

/// The two halves of an id.
pub(crate) fn halves(id: Uuid) -> proto::uuid::Structured {
    let (most, least) = id.as_u64_pair();
    proto::uuid::Structured {
        most_significant_bits: most.cast_signed(),
        least_significant_bits: least.cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(value: proto::uuid::Value) -> proto::Uuid {
        proto::Uuid { value: Some(value) }
    }

    proptest! {
        #[test]
        fn both_forms_are_the_same_id(number: u128) {
            let id = Uuid::from_u128(number);
            let text = message(proto::uuid::Value::String(id.to_string()));
            let structured = message(proto::uuid::Value::Structured(halves(id)));
            prop_assert_eq!(read(Some(&text)).unwrap(), id);
            prop_assert_eq!(read(Some(&structured)).unwrap(), id);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let text = message(proto::uuid::Value::String("order-1".into()));
        for bad in [None, Some(&proto::Uuid::default()), Some(&text)] {
            assert!(matches!(read(bad), Err(Error::InvalidArgument { .. })));
        }
    }
}
