//! The words in which reads and subscriptions say what they want to see.

use bytestring::ByteString;
use icecore_core::NameMatch;

/// Adds names to what a filter compares with; another kind of comparison replaces the one before.
pub(crate) fn any_of(
    part: &mut Option<NameMatch>,
    names: impl IntoIterator<Item = impl Into<ByteString>>,
) {
    let mut all = match part.take() {
        Some(NameMatch::AnyOf(names)) => names,
        _ => Vec::new(),
    };
    all.extend(names.into_iter().map(Into::into));
    *part = Some(NameMatch::AnyOf(all));
}

/// Adds a prefix; another kind of comparison replaces the one before.
pub(crate) fn prefix(part: &mut Option<NameMatch>, prefix: impl Into<ByteString>) {
    let mut all = match part.take() {
        Some(NameMatch::Prefixes(prefixes)) => prefixes,
        _ => Vec::new(),
    };
    all.push(prefix.into());
    *part = Some(NameMatch::Prefixes(all));
}

/// Gives a builder with a field `filter` the methods that narrow it.
macro_rules! filter_methods {
    ($name:ident) => {
        impl<At> $name<At> {
            /// Only events of these types. Given again, the types add up.
            pub fn types(
                mut self,
                types: impl IntoIterator<Item = impl Into<bytestring::ByteString>>,
            ) -> Self {
                $crate::filter::any_of(&mut self.filter_mut().event_type, types);
                self
            }

            /// Only events of the types that this enum names, with the older names that it knows. Given
            /// again, the types add up.
            ///
            /// # Errors
            ///
            /// As [`event_types_of`]($crate::event_types_of).
            pub fn events_of<E: $crate::Event>(self) -> icecore_core::Result<Self> {
                let types = $crate::event_types_of::<E>()?;
                Ok(self.types(types.iter().map(|each| each.as_str().to_owned())))
            }

            /// Only events whose type begins with this, or with one of several given.
            pub fn type_prefix(mut self, prefix: impl Into<bytestring::ByteString>) -> Self {
                $crate::filter::prefix(&mut self.filter_mut().event_type, prefix);
                self
            }

            /// Only events whose type matches this regular expression.
            pub fn type_regex(mut self, regex: impl Into<bytestring::ByteString>) -> Self {
                self.filter_mut().event_type = Some(icecore_core::NameMatch::Regex(regex.into()));
                self
            }

            /// Only streams whose name begins with this, or with one of several given.
            pub fn prefix(mut self, prefix: impl Into<bytestring::ByteString>) -> Self {
                $crate::filter::prefix(&mut self.filter_mut().stream, prefix);
                self
            }

            /// Only streams whose name matches this regular expression.
            pub fn regex(mut self, regex: impl Into<bytestring::ByteString>) -> Self {
                self.filter_mut().stream = Some(icecore_core::NameMatch::Regex(regex.into()));
                self
            }

            /// Only streams of this category, the part of the name before the first `-`.
            pub fn category(mut self, category: icecore_core::Category) -> Self {
                self.filter_mut().category = Some(category);
                self
            }

            /// Only events with this tag, and with all others that are given.
            pub fn tag(mut self, tag: icecore_core::Tag) -> Self {
                self.filter_mut().tags.push(tag);
                self
            }

            /// Streams whose name begins with `$` too.
            pub fn include_system(mut self) -> Self {
                self.filter_mut().system = icecore_core::SystemStreams::Include;
                self
            }

            /// This filter in place of what was said so far.
            pub fn filter(mut self, filter: icecore_core::Filter) -> Self {
                *self.filter_mut() = filter;
                self
            }
        }
    };
}

pub(crate) use filter_methods;
