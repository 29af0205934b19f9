//! Histories that look like those of a small shop. The same seed gives the same events, ids and times
//! included; nothing here asks a clock or the system for randomness.

use fastrand::Rng;
use icecore_core::{EventData, StreamName, Tag, Timestamp};
use uuid::Uuid;

/// 2012-01-31T00:00:00Z, when these histories begin.
const BEGIN: Timestamp = Timestamp::from_nanos(1_327_968_000_000_000_000);

/// Orders that are open at a time.
const OPEN_ORDERS: usize = 40;

/// What may happen to an order, in this order; each step may be left out but the first.
const STEPS: [&str; 6] = [
    "OrderPlaced",
    "OrderPaid",
    "Stock reserved",
    "OrderShipped",
    "Paket-zugestellt",
    "OrderClosed",
];

/// Makes events for ever: orders of customers, each a stream, some forty of them under way at a time.
///
/// ```
/// use icecore_testing::History;
///
/// let events: Vec<_> = History::new(7).take(1_000).collect();
/// assert_eq!(events, History::new(7).take(1_000).collect::<Vec<_>>());
/// ```
#[derive(Clone, Debug)]
pub struct History {
    random: Rng,
    now: Timestamp,
    orders: Vec<Order>,
    begun: u64,
}

/// An event and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEvent {
    /// The stream it goes to.
    pub stream: StreamName,
    /// The event, with an id.
    pub event: EventData,
    /// When it happened. Mostly increasing; now and then one is told late.
    pub time: Timestamp,
}

#[derive(Clone, Debug)]
struct Order {
    number: u64,
    customer: u32,
    step: usize,
}

impl History {
    /// The history of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            now: BEGIN,
            orders: Vec::new(),
            begun: 0,
        }
    }

    fn begin_order(&mut self) -> Order {
        self.begun += 1;
        Order {
            number: self.begun,
            customer: self.random.u32(1..500),
            step: 0,
        }
    }

    /// The next step of some order, which may be a new one.
    fn next_step(&mut self) -> Order {
        if self.orders.len() < OPEN_ORDERS {
            let order = self.begin_order();
            self.orders.push(order);
        }
        let place = self.random.usize(..self.orders.len());
        let order = self.orders[place].clone();
        let steps = if self.random.u8(..) < 64 { 2 } else { 1 };
        self.orders[place].step += steps;
        if self.orders[place].step >= STEPS.len() {
            self.orders.swap_remove(place);
        }
        order
    }

    /// A moment later than the one before; one event in fifty is told with the time of an hour ago.
    fn tick(&mut self) -> Timestamp {
        const MILLISECOND_NANOS: i64 = 1_000_000;
        let pause = self.random.i64(0..90_000) * MILLISECOND_NANOS;
        self.now = self.now.plus_nanos(pause);
        if self.random.u8(..50) == 0 {
            self.now.plus_nanos(-3_600_000 * MILLISECOND_NANOS)
        } else {
            self.now
        }
    }

    /// Some JSON: nested, with texts beyond ASCII, mostly small.
    fn data(&mut self, order: &Order) -> String {
        let total = self.random.u32(1..100_000);
        let note = match self.random.u8(..10) {
            0 => "grün \\\"\\n".repeat(self.random.usize(1..200)),
            1 => "注文".into(),
            _ => String::new(),
        };
        format!(
            r#"{{"total":{total},"price":{}.{:02},"lines":[{{"sku":"A-{}"}}],"note":"{note}"}}"#,
            total / 100,
            total % 100,
            order.number % 97
        )
    }
}

impl Iterator for History {
    type Item = HistoryEvent;

    fn next(&mut self) -> Option<HistoryEvent> {
        let order = self.next_step();
        let id = Uuid::from_u128(self.random.u128(..));
        let data = self.data(&order);
        let valid = "a history is made of valid values";
        let mut event = EventData::json(id, STEPS[order.step], data).expect(valid);
        if self.random.bool() {
            event.metadata = format!(r#"{{"by":"{}"}}"#, order.customer).into();
        }
        let tags = [
            format!("order:{}", order.number),
            format!("customer:{}", order.customer),
        ];
        event.tags = tags.map(|tag| Tag::new(tag).expect(valid)).into();
        Some(HistoryEvent {
            stream: StreamName::new(format!("order-{}", order.number)).expect(valid),
            event,
            time: self.tick(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn seeds_differ_and_ids_are_unique() {
        let ids = |seed| {
            let events = History::new(seed).take(2_000);
            events.map(|event| event.event.id).collect::<HashSet<_>>()
        };
        let (one, two) = (ids(1), ids(2));
        assert_eq!(one.len(), 2_000);
        assert!(one.is_disjoint(&two));
    }

    #[test]
    fn some_events_are_told_late() {
        let events: Vec<_> = History::new(1).take(2_000).collect();
        let late = events.windows(2).filter(|two| two[1].time < two[0].time);
        assert!((10..200).contains(&late.count()));
    }
}
