//! Single fields of messages: texts, ids, enumerations, and how an error names the field it is about.
//! Knows no message.

use bytes::Bytes;
use bytestring::ByteString;
use icecore_core::{Error, Result, StoreId, StreamName};
use std::borrow::Cow;
use uuid::Uuid;

/// Says in which field an argument is wrong. `core` knows only the value; where it stood in the
/// message is known here. Errors of other kinds pass unchanged.
pub(crate) trait InField<T> {
    /// The argument is `field`, whatever it was called before.
    fn named(self, field: &'static str) -> Result<T>;

    /// As [`Self::named`], for names that are made only when they are needed.
    fn named_by(self, field: impl FnOnce() -> String) -> Result<T>;

    /// The argument stands inside of `outer`.
    fn inside(self, outer: impl FnOnce() -> String) -> Result<T>;
}

impl<T> InField<T> for Result<T> {
    fn named(self, field: &'static str) -> Result<T> {
        self.map_err(|error| rename(error, |_| Cow::Borrowed(field)))
    }

    fn named_by(self, field: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| rename(error, |_| Cow::Owned(field())))
    }

    fn inside(self, outer: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| rename(error, |inner| Cow::Owned(format!("{}.{inner}", outer()))))
    }
}

/// Gives the field of an invalid argument another name.
pub(crate) fn rename(
    error: Error,
    name: impl FnOnce(Cow<'static, str>) -> Cow<'static, str>,
) -> Error {
    match error {
        Error::InvalidArgument { field, reason } => Error::InvalidArgument {
            field: name(field),
            reason,
        },
        other => other,
    }
}

/// A text. The error names no field; see [`InField`].
pub(crate) fn text(bytes: Bytes) -> Result<ByteString> {
    ByteString::try_from(bytes).map_err(|_| Error::invalid("text", "is not UTF-8"))
}

/// A text as it goes into a message.
pub(crate) fn text_bytes(text: impl Into<ByteString>) -> Bytes {
    text.into().into_bytes()
}

/// The name of a stream that is written to.
pub(crate) fn written_stream(bytes: Bytes) -> Result<StreamName> {
    text(bytes).and_then(StreamName::new).named("stream")
}

/// The name of a stream that is read, or that the store has told: names that the store derived are
/// longer than those that a caller may give.
pub(crate) fn stored_stream(bytes: Bytes) -> Result<StreamName> {
    text(bytes).and_then(StreamName::derived).named("stream")
}

/// The name of a stream as it goes into a message.
pub(crate) fn stream_bytes(stream: StreamName) -> Bytes {
    stream.into_inner().into_bytes()
}

/// An id of 16 bytes.
pub(crate) fn uuid(bytes: &Bytes) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| {
        Error::invalid(
            "id",
            format!("is {} bytes long, a UUID has 16", bytes.len()),
        )
    })
}

/// An id as it goes into a message.
pub(crate) fn uuid_bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// The id of a store.
pub(crate) fn store_id(bytes: &Bytes) -> Result<StoreId> {
    uuid(bytes).map(StoreId::new).named("store_id")
}

/// The id of a store where it may be left out.
pub(crate) fn optional_store_id(bytes: &Bytes) -> Result<Option<StoreId>> {
    (!bytes.is_empty()).then(|| store_id(bytes)).transpose()
}

/// The id of a store as it goes into a message.
pub(crate) fn store_id_bytes(id: StoreId) -> Bytes {
    uuid_bytes(id.get())
}

/// A field that must be set.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, "is missing"))
}

/// A value of an enumeration that this release does not know, or that must not be sent.
pub(crate) fn unknown<T>(field: &'static str, value: i32) -> Result<T> {
    Err(Error::invalid(
        field,
        format!("has the unknown value {value}"),
    ))
}

/// A count as it goes into a message.
pub(crate) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A count as it comes from a message.
pub(crate) fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
