//! What all validated texts (stream names, event types, tags) share: they are cheap to clone, since
//! they point into the buffer they were read from, and they read like a `str`.

/// Gives a newtype over [`bytestring::ByteString`] the traits that a text needs. The constructor,
/// and with it the rule of what is valid, stays with the type.
macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text in memory of its own, for what is kept for long: a text points into the
            /// buffer that it came in and keeps all of it alive.
            #[must_use]
            pub fn detached(&self) -> Self {
                Self(ByteString::from(self.as_str()))
            }

            /// The same text at the end of `memory`.
            #[allow(dead_code)] // Not every text is part of an append.
            pub(crate) fn copied_into(&self, memory: &mut bytes::BytesMut) -> Self {
                let copy = $crate::text::copied_into(memory, self.0.as_bytes());
                Self(ByteString::try_from(copy).expect("the copy of a text is a text"))
            }

            /// The text as a shared buffer, without a copy.
            pub fn into_inner(self) -> ByteString {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(crate) use text;

/// The beginning of a text, as much of it as fits so many bytes.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// Copies `bytes` to the end of `memory` and shares them from there.
pub(crate) fn copied_into(memory: &mut BytesMut, bytes: &[u8]) -> Bytes {
    memory.extend_from_slice(bytes);
    memory.split().freeze()
}

/// Refuses an empty text, one over `bytes_max`, and control characters, which would break tables,
/// logs and the terminals of those who read them.
pub(crate) fn check(field: &'static str, text: &ByteString, bytes_max: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    if text.len() > bytes_max {
        return Err(Error::invalid(
            field,
            format!("is {} bytes long, the limit is {bytes_max}", text.len()),
        ));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(
            field,
            format!("contains the control character {control:?}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(beginning("añb", 10), "añb");
        assert_eq!(beginning("añb", 3), "añ");
        assert_eq!(beginning("añb", 2), "a");
        assert_eq!(beginning("ñ", 1), "");
    }
}
