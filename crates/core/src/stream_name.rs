//! Names of streams, and what a name alone says: its category, whether it is a system or a metadata
//! stream. What a stream *contains* is not known here.

use crate::limits::{DERIVED_STREAM_NAME_BYTES_MAX, STREAM_NAME_BYTES_MAX};
use crate::text::{check, text};
use crate::{Error, Result};
use bytestring::ByteString;

/// Prefix of the stream that holds another stream's metadata.
const METADATA_PREFIX: &str = "$$";

/// Validated name of a stream: UTF-8, not empty, without control characters.
///
/// A caller's names have at most [`STREAM_NAME_BYTES_MAX`] bytes, names that the store derives from
/// them (metadata streams, group streams) at most [`DERIVED_STREAM_NAME_BYTES_MAX`].
/// Names order by their bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(ByteString);

text!(StreamName);

impl StreamName {
    /// Takes a name as a caller gave it. `$$s` may be as much longer as its prefix.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `stream`: empty, too long, a control character, or the metadata
    /// stream of a metadata stream (`$$$$s`), which does not exist.
    pub fn new(name: impl Into<ByteString>) -> Result<Self> {
        let name = name.into();
        let metadata_of = name.strip_prefix(METADATA_PREFIX);
        if metadata_of.is_some_and(|of| of.starts_with(METADATA_PREFIX)) {
            return Err(Error::invalid(
                "stream",
                "names the metadata of a metadata stream",
            ));
        }
        match metadata_of {
            Some("") => return Err(Error::invalid("stream", "`$$` names no stream")),
            Some(_) => check(
                "stream",
                &name,
                STREAM_NAME_BYTES_MAX + METADATA_PREFIX.len(),
            )?,
            None => check("stream", &name, STREAM_NAME_BYTES_MAX)?,
        }
        Ok(Self(name))
    }

    /// Takes a name that the store made or has stored, with the wider limit.
    pub fn derived(name: impl Into<ByteString>) -> Result<Self> {
        let name = name.into();
        check("stream", &name, DERIVED_STREAM_NAME_BYTES_MAX)?;
        Ok(Self(name))
    }

    /// Whether the name begins with `$`: the store's own streams and metadata streams, which are
    /// left out of reads of all, listings and exports unless asked for.
    pub fn is_system(&self) -> bool {
        self.0.as_bytes().first() == Some(&b'$')
    }

    /// Whether this is `$$s`, the stream that holds the metadata of `s`.
    pub fn is_metadata(&self) -> bool {
        self.0.starts_with(METADATA_PREFIX)
    }

    /// The stream that holds this stream's metadata; `None` for a metadata stream itself.
    pub fn metadata_stream(&self) -> Option<Self> {
        (!self.is_metadata())
            .then(|| Self(ByteString::from(format!("{METADATA_PREFIX}{}", self.0))))
    }

    /// The stream whose metadata this stream holds; `None` unless [`Self::is_metadata`].
    pub fn metadata_of(&self) -> Option<Self> {
        let of = self.0.strip_prefix(METADATA_PREFIX)?;
        Some(Self(self.0.slice_ref(of)))
    }

    /// The text before the first `-`; `None` when there is no `-` or nothing before it.
    pub fn category(&self) -> Option<Category> {
        let (category, _) = self.0.split_once('-')?;
        (!category.is_empty()).then(|| Category(self.0.slice_ref(category)))
    }
}

/// The part of a stream name before its first `-`: `order` of `order-42`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Category(ByteString);

text!(Category);

impl Category {
    /// Takes a category as a caller gave it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for field `category`: empty, too long, or with a `-`, which no category has.
    pub fn new(category: impl Into<ByteString>) -> Result<Self> {
        let category = category.into();
        check("category", &category, DERIVED_STREAM_NAME_BYTES_MAX)?;
        if category.contains('-') {
            return Err(Error::invalid(
                "category",
                format!(
                    "`{category}` contains `-`: a category ends before the first `-` of a stream name"
                ),
            ));
        }
        Ok(Self(category))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_empty_nor_too_long_nor_unprintable() {
        for bad in [
            String::new(),
            "a".repeat(1_025),
            "a\nb".into(),
            "$$".into(),
            "$$$$a".into(),
        ] {
            let error = StreamName::new(bad.clone()).unwrap_err();
            assert!(
                matches!(error, Error::InvalidArgument { .. }),
                "{bad:?} gave {error}"
            );
        }
        assert!(StreamName::new("é".repeat(512)).is_ok());
        assert!(StreamName::new(format!("$${}", "a".repeat(1_024))).is_ok());
    }

    #[test]
    fn category_ends_before_the_first_dash() {
        let category = |name: &str| {
            StreamName::new(name.to_owned())
                .unwrap()
                .category()
                .map(|c| c.as_str().to_owned())
        };
        assert_eq!(category("order-42-b").as_deref(), Some("order"));
        assert_eq!(category("order"), None);
        assert_eq!(category("-42"), None);
        assert!(Category::new("a-b").is_err());
    }

    #[test]
    fn metadata_streams_pair_with_their_streams() {
        let stream = StreamName::new("order-1").unwrap();
        let metadata = stream.metadata_stream().unwrap();
        assert_eq!(metadata.as_str(), "$$order-1");
        assert!(metadata.is_metadata() && metadata.is_system());
        assert_eq!(metadata.metadata_of(), Some(stream));
        assert_eq!(metadata.metadata_stream(), None);
    }
}
