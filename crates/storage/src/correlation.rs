//! Where an event's correlation id stands. All engines index it, so they must read it alike.

use icecore_core::CorrelationId;
use memchr::memmem::Finder;
use serde_json::Value;
use std::sync::LazyLock;

/// The correlation id in the metadata of an event: a text under `$correlationId` in a JSON object.
/// `None` where there is none, also when it is longer than an id may be. The key is found as it is
/// written, without escapes.
pub fn correlation_id(metadata: &[u8]) -> Option<CorrelationId> {
    static KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CorrelationId::KEY));
    KEY.find(metadata)?;
    let metadata: Value = serde_json::from_slice(metadata).ok()?;
    let id = metadata.get(CorrelationId::KEY)?.as_str()?;
    CorrelationId::new(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_a_text_in_an_object() {
        let found = |metadata: &str| correlation_id(metadata.as_bytes()).map(|id| id.to_string());
        assert_eq!(found(r#"{"$correlationId":"a-1"}"#).as_deref(), Some("a-1"));
        let among = r#" {"by":"me", "$correlationId" : "\u00e9" , "x":[1]} "#;
        assert_eq!(found(among).as_deref(), Some("é"));
        let long = format!(r#"{{"$correlationId":"{}"}}"#, "x".repeat(257));
        for none in [
            "",
            "{}",
            r#"{"$correlationId":1}"#,
            r#"{"$correlationId":""}"#,
            r#"{"$correlationId":null}"#,
            r#"{"x":{"$correlationId":"a"}}"#,
            r#"["$correlationId","a"]"#,
            r#"{"$correlationId":"a""#,
            r#"{"$correlationId":"a\n"}"#,
            &long,
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
