//! An enum as a name and a content: serde's `{"Variant": content}` taken apart and put together, without
//! a copy of the content on the way in.

use bytes::Bytes;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor,
};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::value::RawValue;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

type Json<'de> = serde_json::Deserializer<serde_json::de::SliceRead<'de>>;

/// Why a variant cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// No variant has this name.
    Unknown,
    /// The content does not fit the variant.
    Data(serde_json::Error),
}

/// The name of the variant and its content as JSON.
pub(super) fn write(value: &impl Serialize) -> Result<(String, Bytes), serde_json::Error> {
    let json = serde_json::to_vec(value)?;
    if json.first() == Some(&b'"') {
        return Ok((serde_json::from_slice(&json)?, Bytes::from_static(b"{}")));
    }
    let variant: HashMap<String, &RawValue> = serde_json::from_slice(&json)?;
    let mut variant = variant.into_iter();
    match (variant.next(), variant.next()) {
        (Some((name, content)), None) => {
            Ok((name, Bytes::copy_from_slice(content.get().as_bytes())))
        }
        _ => Err(de::Error::custom(super::NO_ENUM)),
    }
}

/// The variant of this name with this content.
pub(super) fn read<E: DeserializeOwned>(name: &str, content: &[u8]) -> Result<E, ReadError> {
    let known = Cell::new(false);
    let variant = Variant {
        name,
        content,
        known: &known,
    };
    E::deserialize(variant).map_err(|error| {
        if known.get() {
            ReadError::Data(error)
        } else {
            ReadError::Unknown
        }
    })
}

/// The names of all variants; `None` for what is no enum.
pub(super) fn names<E: DeserializeOwned>() -> Option<&'static [&'static str]> {
    match E::deserialize(Question) {
        Ok(_) => None,
        Err(Names(names)) => names,
    }
}

/// A variant on its way into an enum.
struct Variant<'de> {
    name: &'de str,
    content: &'de [u8],
    /// Becomes true when the enum has a variant of this name.
    known: &'de Cell<bool>,
}

impl<'de> Deserializer<'de> for Variant<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        self.known.set(true);
        Err(de::Error::custom(super::NO_ENUM))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = serde_json::Error;
    type Variant = Content<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'de>), Self::Error> {
        let name: BorrowedStrDeserializer<'de, Self::Error> =
            BorrowedStrDeserializer::new(self.name);
        let variant = seed.deserialize(name)?;
        self.known.set(true);
        Ok((variant, Content(self.content)))
    }
}

/// What a variant carries, as JSON.
struct Content<'de>(&'de [u8]);

impl<'de> Content<'de> {
    /// Reads the content to its end.
    fn read<T>(
        self,
        read: impl FnOnce(&mut Json<'de>) -> Result<T, serde_json::Error>,
    ) -> Result<T, serde_json::Error> {
        let mut json = Json::from_slice(self.0);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = serde_json::Error;

    /// The variant is only a name: whatever the event carries is not looked at.
    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        self.read(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.read(|json| json.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.read(|json| json.deserialize_struct("", fields, visitor))
    }
}

/// Asks an enum for the names of its variants.
struct Question;

/// The answer, given as the error with which the question ends.
#[derive(Debug)]
struct Names(Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Question {
    type Error = Names;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Names> {
        Err(Names(None))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Names> {
        Err(Names(Some(variants)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl de::Error for Names {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

impl std::error::Error for Names {}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only the names were asked for")
    }
}
