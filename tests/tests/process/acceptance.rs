//! The acceptance run with a generated history.

use crate::icecore;
use icecore_testing::{History, HistoryEvent};
use icecore_tests::{LogEvent, accept, write_log};
use serde_json::value::RawValue;

const EVENTS: usize = 12_000;

fn line((number, event): (usize, HistoryEvent)) -> LogEvent {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let HistoryEvent {
        stream,
        event,
        time,
    } = event;
    let metadata = text(&event.metadata);
    LogEvent {
        stream: stream.to_string(),
        event_type: event.event_type.to_string(),
        time: time.to_string(),
        data: RawValue::from_string(text(&event.data)).unwrap(),
        metadata: RawValue::from_string(metadata).ok(),
        tags: event.tags.iter().map(ToString::to_string).collect(),
        // Logs give ids or leave them to the import.
        id: (number % 2 == 0).then(|| event.id.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_comes_back_event_for_event_whatever_happens_to_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("history.ndjson");
    let history = History::new(2_113).take(EVENTS).enumerate().map(line);
    write_log(&log, history).unwrap();
    if let Err(error) = accept(&icecore(), &log).await {
        panic!("{error:?}");
    }
}
