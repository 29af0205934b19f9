//! Events through encoding, decoding and upcasts.

use super::*;
use crate::given::recorded;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Opened {
        owner: String,
    },
    #[serde(rename = "MoneyDeposited")]
    Deposited(Deposit),
    Moved(String, u64),
    Closed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Deposit {
    cents: u64,
    currency: String,
}

impl Event for AccountEvent {
    const UPCASTS: &'static [Upcast] = &[
        Upcast::renamed("MoneyIn", "MoneyDeposited"),
        Upcast::version("MoneyDeposited", 1, |mut data| {
            let amount = data["amount"].as_u64().ok_or("has no amount")?;
            data["cents"] = (amount * 100).into();
            Ok(data)
        }),
        Upcast::version("MoneyDeposited", 2, |mut data| {
            data["currency"] = "EUR".into();
            Ok(data)
        }),
        Upcast::retired("Viewed"),
    ];

    fn tags(&self) -> Vec<String> {
        match self {
            Self::Opened { owner } => vec![format!("owner:{owner}")],
            _ => Vec::new(),
        }
    }
}

/// An event as an earlier program wrote it.
fn sample(event_type: &str, version: u32, data: &Value) -> RecordedEvent {
    let mut event = EventData::json(Uuid::from_u128(1), event_type, data.to_string()).unwrap();
    event.metadata = Context::new().metadata(version).unwrap();
    recorded(event)
}

fn deposited(cents: u64) -> AccountEvent {
    let currency = "EUR".into();
    AccountEvent::Deposited(Deposit { cents, currency })
}

#[test]
fn every_kind_of_variant_goes_there_and_back() {
    let moved = AccountEvent::Moved("b".into(), 3);
    let opened = AccountEvent::Opened {
        owner: "anna".into(),
    };
    for (event, event_type, data) in [
        (opened, "Opened", json!({"owner": "anna"})),
        (
            deposited(5),
            "MoneyDeposited",
            json!({"cents": 5, "currency": "EUR"}),
        ),
        (moved, "Moved", json!(["b", 3])),
        (AccountEvent::Closed, "Closed", json!({})),
    ] {
        let offered = encode(&event, Uuid::from_u128(1), &Context::new()).unwrap();
        assert_eq!(offered.event_type.as_str(), event_type);
        assert_eq!(
            serde_json::from_slice::<Value>(&offered.data).unwrap(),
            data
        );
        assert_eq!(decode(&recorded(offered)).unwrap(), Some(event));
    }
}

#[test]
fn labels_and_the_version_go_with_the_event() {
    let owner = "anna".into();
    let opened = AccountEvent::Opened { owner };
    let opened = encode(&opened, Uuid::nil(), &Context::new()).unwrap();
    assert_eq!(opened.tags[0].as_str(), "owner:anna");
    assert!(opened.metadata.is_empty());
    let deposited = encode(&deposited(1), Uuid::nil(), &Context::new()).unwrap();
    assert_eq!(&deposited.metadata[..], br#"{"schemaVersion":3}"#);
}

#[test]
fn every_stored_version_becomes_the_present_one() {
    for stored in [
        sample("MoneyIn", 1, &json!({"amount": 5})),
        sample("MoneyDeposited", 1, &json!({"amount": 5})),
        sample("MoneyDeposited", 2, &json!({"cents": 500})),
        sample("MoneyIn", 2, &json!({"cents": 500})),
        sample(
            "MoneyDeposited",
            3,
            &json!({"cents": 500, "currency": "EUR"}),
        ),
    ] {
        assert_eq!(
            decode(&stored).unwrap(),
            Some(deposited(500)),
            "{}",
            stored.event_type
        );
    }
    let viewed = sample("Viewed", 1, &json!({}));
    assert_eq!(decode::<AccountEvent>(&viewed).unwrap(), None);
}

#[test]
fn what_cannot_be_read_says_which_event_it_is_and_why() {
    let mut erased = sample("Opened", 1, &json!({}));
    erased.erased = true;
    let mut longer = sample("Opened", 1, &json!({}));
    longer.data = r#"{"owner":"anna"} and more"#.into();
    for (event, reason) in [
        (longer, "is not as expected"),
        (sample("Frozen", 1, &json!({})), "is no event of"),
        (
            sample("Opened", 1, &json!({"owner": 7})),
            "is not as expected",
        ),
        (sample("Opened", 1, &json!("anna")), "is not as expected"),
        (
            sample("MoneyDeposited", 1, &json!({})),
            "could not be turned from version 1: has no amount",
        ),
        (
            sample("MoneyDeposited", 2, &json!("no object")),
            "could not be turned from version 2: the upcast panicked",
        ),
        (
            sample("MoneyDeposited", 4, &json!({})),
            "has version 4, this program knows up to 3",
        ),
        (erased, "was erased"),
    ] {
        let error = decode::<AccountEvent>(&event).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(
            error.contains("at position 1 (revision 0 of `given-1`)"),
            "{error}"
        );
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tolerant {
    Opened,
    Other(String),
}

impl Event for Tolerant {
    fn unknown(event: &RecordedEvent) -> Substitute<Self> {
        match event.event_type.as_str() {
            "Closed" => Substitute::Skip,
            other => Substitute::With(Self::Other(other.into())),
        }
    }

    fn erased(_: &RecordedEvent) -> Substitute<Self> {
        Substitute::With(Self::Opened)
    }
}

#[test]
fn a_reader_may_choose_what_takes_the_place_of_an_event() {
    let of = |event_type| decode::<Tolerant>(&sample(event_type, 1, &json!({"more": 1}))).unwrap();
    assert_eq!(of("Opened"), Some(Tolerant::Opened));
    assert_eq!(of("Closed"), None);
    assert_eq!(of("Frozen"), Some(Tolerant::Other("Frozen".into())));
    let mut erased = sample("Closed", 1, &json!({}));
    erased.erased = true;
    assert_eq!(decode(&erased).unwrap(), Some(Tolerant::Opened));
}

#[derive(Serialize, Deserialize)]
struct NoEnum {
    cents: u64,
}

impl Event for NoEnum {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    A { n: u64 },
}

impl Event for Tagged {}

#[test]
fn the_types_of_an_enum_are_known_and_other_shapes_are_refused() {
    let types = event_types_of::<AccountEvent>().unwrap();
    let types: Vec<_> = types.iter().map(EventType::as_str).collect();
    assert_eq!(
        types,
        [
            "Opened",
            "MoneyDeposited",
            "Moved",
            "Closed",
            "MoneyIn",
            "Viewed"
        ]
    );
    assert!(event_types_of::<NoEnum>().is_err() && event_types_of::<Tagged>().is_err());
    assert!(encode(&NoEnum { cents: 1 }, Uuid::nil(), &Context::new()).is_err());
    let stored = sample("A", 1, &json!({"n": 1}));
    assert!(decode::<Tagged>(&stored).is_err() && decode::<NoEnum>(&stored).is_err());
}

/// Counted in whole units, then in cents, then it was renamed, then it got a currency.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Renamed {
    Deposited { cents: u64, currency: String },
}

impl Event for Renamed {
    const UPCASTS: &'static [Upcast] = &[
        Upcast::version("MoneyIn", 1, |data| {
            let amount = data["amount"].as_u64().ok_or("has no amount")?;
            Ok(json!({"cents": amount * 100}))
        }),
        Upcast::renamed("MoneyIn", "Deposited"),
        Upcast::version("Deposited", 2, |mut data| {
            data["currency"] = "EUR".into();
            Ok(data)
        }),
    ];
}

/// Renamed when it had two versions, and the same since then.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum RenamedLast {
    B(u64),
}

impl Event for RenamedLast {
    const UPCASTS: &'static [Upcast] = &[
        Upcast::version("A", 1, |data| Ok(data["n"].clone())),
        Upcast::renamed("A", "B"),
    ];
}

#[test]
fn what_was_renamed_last_keeps_its_version() {
    let written = encode(&RenamedLast::B(7), Uuid::nil(), &Context::new()).unwrap();
    assert_eq!(&written.metadata[..], br#"{"schemaVersion":2}"#);
    for stored in [
        sample("A", 1, &json!({"n": 7})),
        sample("A", 2, &json!(7)),
        sample("B", 2, &json!(7)),
        recorded(written),
    ] {
        assert_eq!(decode(&stored).unwrap(), Some(RenamedLast::B(7)));
    }
}

#[test]
fn a_type_may_be_renamed_after_it_had_several_versions() {
    let deposited = || Renamed::Deposited {
        cents: 500,
        currency: "EUR".into(),
    };
    for stored in [
        sample("MoneyIn", 1, &json!({"amount": 5})),
        sample("MoneyIn", 2, &json!({"cents": 500})),
        sample("Deposited", 2, &json!({"cents": 500})),
    ] {
        assert_eq!(decode(&stored).unwrap(), Some(deposited()));
    }
    let written = encode(&deposited(), Uuid::nil(), &Context::new()).unwrap();
    assert_eq!(&written.metadata[..], br#"{"schemaVersion":3}"#);
    assert_eq!(decode(&recorded(written)).unwrap(), Some(deposited()));
}

/// Nothing says how version 1 becomes version 2.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Gap {
    A,
}

impl Event for Gap {
    const UPCASTS: &'static [Upcast] = &[Upcast::version("A", 2, Ok)];
}

#[test]
fn a_version_from_which_no_step_leads_on_is_not_read_as_todays() {
    assert_eq!(decode(&sample("A", 2, &json!({}))).unwrap(), Some(Gap::A));
    let error = decode::<Gap>(&sample("A", 1, &json!({}))).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has version 1, and no step leads"),
        "{error}"
    );
}

/// A circle of steps ends.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Circle {
    A,
}

impl Event for Circle {
    const UPCASTS: &'static [Upcast] = &[Upcast::renamed("A", "B"), Upcast::renamed("B", "A")];
}

#[test]
fn steps_that_lead_in_a_circle_end() {
    let event = decode::<Circle>(&sample("A", 1, &json!({}))).unwrap();
    assert_eq!(event, Some(Circle::A));
}
