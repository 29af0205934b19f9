//! Whatever goes wrong with a store is found.

use super::*;
use icecore_client::Timestamp;

const PLAN: Plan = Plan::new(1);

/// A store with these appends, whole and in this order, and what their writers were told.
fn store(appends: &[(u16, u32)]) -> (Vec<RecordedEvent>, Vec<Receipts>) {
    let mut events = Vec::new();
    let mut next = HashMap::<StreamName, u64>::new();
    let mut receipts = vec![Receipts::new(); usize::from(WRITERS)];
    for (writer, number) in appends {
        let Contents {
            streams,
            events: sent,
            ..
        } = PLAN.contents(*writer, *number).unwrap();
        for (stream, event) in sent {
            let next = next.entry(streams[stream].clone()).or_default();
            events.push(RecordedEvent {
                stream: streams[stream].clone(),
                revision: Revision::new(*next),
                position: Position::new(events.len() as u64 + 1),
                id: event.id,
                event_type: event.event_type,
                content_type: event.content_type,
                data: event.data,
                metadata: event.metadata,
                tags: event.tags,
                recorded_at: Timestamp::from_nanos(0),
                created_at: None,
                erased: false,
            });
            *next += 1;
        }
        let left = |stream| next.get(stream).map(|next| Revision::new(next - 1));
        receipts[usize::from(*writer)].push(Some(Receipt {
            position: Position::new(events.len() as u64),
            last: streams.iter().map(left).collect(),
        }));
    }
    (events, receipts)
}

/// The counts of what is lost, doubled and wrong.
fn faults(events: &[RecordedEvent], receipts: &[Receipts]) -> (usize, usize, usize) {
    let mut check = Check::new(PLAN, receipts);
    for event in events {
        check.take(event).unwrap();
    }
    let (_, faults, _) = check.finish();
    (faults.lost, faults.doubled, faults.wrong)
}

/// Takes events away and numbers the rest anew, as a store would that never had them.
fn without(events: &[RecordedEvent], gone: impl Fn(&RecordedEvent) -> bool) -> Vec<RecordedEvent> {
    let left = events.iter().filter(|event| !gone(event)).cloned();
    renumbered(left.collect())
}

fn renumbered(mut events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
    let mut next = HashMap::<StreamName, u64>::new();
    for (position, event) in (1..).zip(&mut events) {
        let next = next.entry(event.stream.clone()).or_default();
        event.position = Position::new(position);
        event.revision = Revision::new(*next);
        *next += 1;
    }
    events
}

const APPENDS: [(u16, u32); 4] = [(0, 0), (5, 0), (0, 1), (13, 0)];

#[test]
fn what_was_sent_and_is_there_is_right() {
    let (events, receipts) = store(&APPENDS);
    assert_eq!(faults(&events, &receipts), (0, 0, 0));
}

#[test]
fn a_lost_append_is_found() {
    let (events, receipts) = store(&APPENDS);
    let newest = |event: &RecordedEvent| PLAN.place(event.id).unwrap().writer == 13;
    assert_eq!(faults(&without(&events, newest), &receipts), (1, 0, 0));
    let older = |event: &RecordedEvent| PLAN.place(event.id).unwrap().writer == 5;
    let (lost, _, wrong) = faults(&without(&events, older), &receipts);
    assert!(lost == 1 && wrong > 0, "what comes after stands elsewhere");
}

#[test]
fn an_append_without_answer_may_be_whole_or_absent_but_not_there_in_part() {
    let (events, mut receipts) = store(&APPENDS);
    receipts[13][0] = None;
    assert_eq!(faults(&events, &receipts), (0, 0, 0));
    let place = |event: &RecordedEvent| PLAN.place(event.id).unwrap();
    let absent = without(&events, |event| place(event).writer == 13);
    assert_eq!(faults(&absent, &receipts), (0, 0, 0));
    for cut in [0, 1] {
        let torn = |event: &RecordedEvent| place(event).writer == 13 && place(event).index == cut;
        assert_ne!(
            faults(&without(&events, torn), &receipts).2,
            0,
            "without {cut}"
        );
    }
    receipts[0][1] = None;
    assert_eq!(
        faults(&events, &receipts).2,
        1,
        "only impatient writers may get no answer"
    );
}

#[test]
fn a_doubled_append_is_found() {
    let (events, receipts) = store(&APPENDS);
    let again = events
        .iter()
        .filter(|event| PLAN.place(event.id).unwrap().writer == 13);
    let doubled = renumbered(events.iter().chain(again).cloned().collect());
    let (lost, doubled, _) = faults(&doubled, &receipts);
    assert!(lost == 0 && doubled > 0);
}

#[test]
fn another_order_another_place_and_other_contents_are_found() {
    let (events, receipts) = store(&APPENDS);
    let (turned, _) = store(&[(0, 1), (5, 0), (0, 0), (13, 0)]);
    assert_ne!(faults(&turned, &receipts).2, 0);
    let mut changed = events.clone();
    changed[0].data = "other".into();
    assert_eq!(faults(&changed, &receipts), (0, 0, 1));
    let mut gap = events;
    gap.last_mut().unwrap().position = Position::new(1_000);
    assert_ne!(faults(&gap, &receipts).2, 0);
}

#[test]
fn what_a_subscriber_missed_or_got_twice_is_found() {
    let event = |position: u64| (position, Uuid::from_u128(u128::from(position)));
    let wanted = [1, 2, 4].map(event);
    let check = |seen: &[(u64, Uuid)]| {
        let mut faults = Faults::default();
        faults.compare("all", &wanted, seen);
        (faults.lost, faults.doubled, faults.wrong)
    };
    assert_eq!(check(&[1, 2, 4].map(event)), (0, 0, 0));
    assert_eq!(check(&[1, 4].map(event)), (1, 0, 0));
    assert_eq!(check(&[1, 2].map(event)), (1, 0, 0));
    assert_eq!(check(&[1, 2, 2, 4].map(event)), (0, 1, 0));
    assert_eq!(check(&[1, 2, 1, 2, 4].map(event)), (0, 2, 0));
    assert_eq!(check(&[1, 2, 3, 4].map(event)), (0, 0, 1));
    assert_eq!(check(&[event(1), (2, Uuid::nil()), event(4)]), (0, 0, 1));
}
