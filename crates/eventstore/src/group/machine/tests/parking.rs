//! How many events are parked, when there may be no more and when they are given up.

use super::*;

/// A machine with so many parked events, the consumer that has one of them again, and that delivery.
fn with_a_replay(parked: usize) -> (Machine, ConsumerId, GroupDelivery) {
    let settings = GroupSettings {
        strategy: ConsumerStrategy::RoundRobin,
        ..GroupSettings::default()
    };
    let mut machine = Machine::new(settings, Checkpoint::default(), parked, []);
    let consumer = ConsumerId(Uuid::from_u128(1));
    machine.join(consumer, BUFFER, Duration::ZERO);
    machine.replay(7, Arrival::new(1, event("s", 0, 1)), None);
    let delivery = next(&mut machine);
    (machine, consumer, delivery)
}

fn next(machine: &mut Machine) -> GroupDelivery {
    let next = machine.dispatch(Duration::ZERO, |_, _| true);
    next.expect("there is one").1
}

fn park(machine: &mut Machine, consumer: ConsumerId, delivery: &GroupDelivery) {
    let settled = Settled::Nack {
        action: NackAction::Park,
        reason: String::new(),
    };
    machine.settle(consumer, &[delivery.number], &settled, Duration::ZERO);
}

#[test]
fn a_replayed_event_is_parked_again_when_nothing_else_may_be() {
    let (mut machine, consumer, replayed) = with_a_replay(GROUP_PARKED_MAX);
    machine.arrive(Arrival::new(2, event("s", 1, 2)));
    let new = next(&mut machine);
    park(&mut machine, consumer, &new);
    assert!(machine.changes().parks.is_empty(), "it waits for room");
    park(&mut machine, consumer, &replayed);
    let (_, changes) = machine.take_changes();
    let links: Vec<_> = changes.parks.iter().map(|park| park.replaces).collect();
    assert_eq!(links, [Some(7)]);
    machine.parked(changes.parks[0].entry, 8);
    // One that is given up makes room.
    machine.give_up(8, None);
    let (_, changes) = machine.take_changes();
    let places: Vec<_> = changes.parks.iter().map(|park| park.cursor.place).collect();
    assert_eq!(places, [2]);
}

#[test]
fn what_is_given_up_while_it_is_parked_again_counts_once() {
    let (mut machine, consumer, replayed) = with_a_replay(1);
    park(&mut machine, consumer, &replayed);
    machine.give_up(7, None);
    let (_, changes) = machine.take_changes();
    assert_eq!((changes.parks.len(), changes.resolved), (0, vec![7]));
    assert_eq!(machine.parked, 0);
}
