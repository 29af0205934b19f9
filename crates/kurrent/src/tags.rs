//! Tags, for which this protocol has no word: they travel as `$tags` in the custom metadata, a list of
//! texts like `customer:7`.
//!
//! On the way out `$tags` is put before the other keys of the JSON object that the metadata is; an
//! empty metadata becomes an object. Metadata that is no JSON object, or has a `$tags` of its own, goes
//! out as it is, without the tags. On the way in `$tags` is taken out if it is a list of valid tags;
//! otherwise it is the writer's own and stays. Metadata without `$tags` is never touched.

use bytes::Bytes;
use icecore_core::Tag;
use icecore_core::limits::TAGS_PER_EVENT_MAX;
use serde_json::{Map, Value};

const KEY: &str = "$tags";

/// The metadata of an event with its tags in it.
pub(crate) fn put_in(metadata: &Bytes, tags: &[Tag]) -> Bytes {
    if tags.is_empty() {
        return metadata.clone();
    }
    if metadata.is_empty() {
        return [beginning(tags).as_bytes(), b"}"].concat().into();
    }
    let Some(map) = object(metadata).filter(|map| !map.contains_key(KEY)) else {
        return metadata.clone();
    };
    // What stands behind the brace that opens the object.
    let rest = metadata.trim_ascii_start().get(1..).unwrap_or_default();
    let separator: &[u8] = if map.is_empty() { b"" } else { b"," };
    [beginning(tags).as_bytes(), separator, rest]
        .concat()
        .into()
}

/// The metadata without the tags, and the tags.
pub(crate) fn take_out(metadata: Bytes) -> (Bytes, Vec<Tag>) {
    match split(&metadata) {
        Some(taken) => taken,
        None => (metadata, Vec::new()),
    }
}

fn split(metadata: &Bytes) -> Option<(Bytes, Vec<Tag>)> {
    let key = KEY.as_bytes();
    if !metadata.windows(key.len()).any(|part| part == key) {
        return None;
    }
    let mut map = object(metadata)?;
    let tags = read(&map.remove(KEY)?)?;
    let rest = metadata.strip_prefix(beginning(&tags).as_bytes());
    let rest = match rest {
        // As it was put in, so that the other keys come back byte for byte.
        Some(b"}") => Bytes::new(),
        Some([b',', rest @ ..]) => [b"{", rest].concat().into(),
        _ if map.is_empty() => Bytes::new(),
        _ => Value::Object(map).to_string().into(),
    };
    Some((rest, tags))
}

fn read(list: &Value) -> Option<Vec<Tag>> {
    let list = list.as_array()?;
    let is_right = !list.is_empty() && list.len() <= TAGS_PER_EVENT_MAX;
    let tags = list
        .iter()
        .map(|tag| Tag::new(tag.as_str()?.to_owned()).ok());
    is_right.then(|| tags.collect())?
}

fn object(metadata: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(metadata).ok()
}

/// An object that begins with these tags.
fn beginning(tags: &[Tag]) -> String {
    let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
    format!("{{\"{KEY}\":{}", Value::from(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[&str]) -> Vec<Tag> {
        let tags = tags.iter().map(|tag| Tag::new((*tag).to_owned()).unwrap());
        tags.collect()
    }

    #[test]
    fn tags_go_out_and_come_back_beside_every_other_key() {
        let two = tags(&["customer:7", "at:\"noon\""]);
        for metadata in ["", r#"{"user":"me"}"#, r#"{ "b": 1.50, "a": [1, 2] }"#] {
            let metadata = Bytes::from(metadata);
            let out = put_in(&metadata, &two);
            let json: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(
                json["$tags"],
                serde_json::json!(["customer:7", "at:\"noon\""])
            );
            assert_eq!(take_out(out), (metadata, two.clone()));
        }
    }

    #[test]
    fn an_empty_object_stays_an_object_with_tags() {
        let out = put_in(&Bytes::from_static(b" { } "), &tags(&["a:b"]));
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json, serde_json::json!({"$tags": ["a:b"]}));
    }

    #[test]
    fn what_is_no_object_or_has_own_tags_is_left_alone() {
        for metadata in ["text", "[1]", "1", r#"{"$tags":7}"#, "\u{0}\u{1}"] {
            let metadata = Bytes::from(metadata);
            assert_eq!(put_in(&metadata, &tags(&["a:b"])), metadata);
            assert_eq!(take_out(metadata.clone()), (metadata, Vec::new()));
        }
    }

    #[test]
    fn tags_of_others_are_taken_wherever_they_stand() {
        let metadata = Bytes::from_static(br#"{"user":"me", "$tags" : ["a:b"]}"#);
        let (rest, taken) = take_out(metadata);
        assert_eq!(rest, r#"{"user":"me"}"#);
        assert_eq!(taken, tags(&["a:b"]));
    }

    #[test]
    fn lists_that_are_no_tags_are_the_writers_own() {
        for own in [
            r#"{"$tags":["plain"]}"#,
            r#"{"$tags":[]}"#,
            r#"{"$tags":[1]}"#,
        ] {
            let own = Bytes::from(own);
            assert_eq!(take_out(own.clone()), (own, Vec::new()));
        }
    }
}
