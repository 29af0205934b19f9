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

/// An id in this form.
pub(crate) fn message(id: Uuid, form: IdForm) -> proto::Uuid {
    let value = match form {
        IdForm::Text => proto::uuid::Value::String(id.to_string()),
        IdForm::Structured => proto::uuid::Value::Structured(halves(id)),
    };
    proto::Uuid { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_are_the_same_id(number: u128) {
            let id = Uuid::from_u128(number);
            for form in [IdForm::Text, IdForm::Structured] {
                prop_assert_eq!(read(Some(&message(id, form))).unwrap(), id);
            }
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let value = Some(proto::uuid::Value::String("order-1".into()));
        let text = proto::Uuid { value };
        for bad in [None, Some(&proto::Uuid::default()), Some(&text)] {
            assert!(matches!(read(bad), Err(Error::InvalidArgument { .. })));
        }
    }
}
