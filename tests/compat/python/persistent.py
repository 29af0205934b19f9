"""Persistent subscriptions of KurrentDB's Python clients on Icecore, with asserted results.

The server's address is in ICECORE, the client's package (kurrentdbclient or esdbclient) in CLIENT, and
RESTART kills the server and starts it again.
"""

import importlib
import json
import os
import subprocess
import time
import uuid

PACKAGE = os.environ["CLIENT"]
module = importlib.import_module(PACKAGE)
exceptions = importlib.import_module(PACKAGE + ".exceptions")
IS_NEW = PACKAGE == "kurrentdbclient"
Client = module.KurrentDBClient if IS_NEW else module.EventStoreDBClient
ANY = module.StreamState.ANY
NotFound = getattr(exceptions, "NotFoundError", None) or exceptions.NotFound
AlreadyExists = getattr(exceptions, "AlreadyExistsError", None) or exceptions.AlreadyExists


def connect():
    scheme = "kurrentdb" if IS_NEW else "esdb"
    return Client(f"{scheme}://{os.environ['ICECORE']}?tls=false")


def new_name(prefix="order"):
    return f"{prefix}-{uuid.uuid4()}"


def put(client, stream, count, type="OrderPlaced", **fields):
    events = [
        module.NewEvent(type=type, data=json.dumps({"n": n}).encode(), **fields) for n in range(count)
    ]
    client.append_to_stream(stream, current_version=ANY, events=events)
    return [event.id for event in events]


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError(f"no {error} from {call}")


def take(subscription, count, answer=lambda subscription, event: subscription.ack(event)):
    """The next events, each answered as it comes."""
    taken = []
    for event in subscription:
        answer(subscription, event)
        taken.append(event)
        if len(taken) == count:
            break
    return taken


def ids(events):
    return [event.id for event in events]


def a_stream_is_consumed_once_and_in_order(client):
    stream, group = new_name(), new_name("group")
    written = put(client, stream, 3)
    client.create_subscription_to_stream(group_name=group, stream_name=stream)
    raises(AlreadyExists, client.create_subscription_to_stream, group_name=group, stream_name=stream)
    subscription = client.read_subscription_to_stream(group_name=group, stream_name=stream)
    assert ids(take(subscription, 3)) == written
    more = put(client, stream, 2)
    assert ids(take(subscription, 2)) == more
    subscription.stop()
    last = put(client, stream, 1)
    subscription = client.read_subscription_to_stream(group_name=group, stream_name=stream)
    assert ids(take(subscription, 1)) == last
    subscription.stop()
    info = client.get_subscription_info(group_name=group, stream_name=stream)
    assert (info.group_name, info.event_source) == (group, stream)
    assert group in [each.group_name for each in client.list_subscriptions()]
    assert [each.group_name for each in client.list_subscriptions_to_stream(stream)] == [group]
    client.delete_subscription(group_name=group, stream_name=stream)
    raises(NotFound, client.delete_subscription, group_name=group, stream_name=stream)
    raises(NotFound, client.get_subscription_info, group_name=group, stream_name=stream)


def refused_events_are_tried_again_skipped_or_parked_and_replayed(client):
    stream, group = new_name(), new_name("group")
    retried, skipped, parked = put(client, stream, 3)
    client.create_subscription_to_stream(
        group_name=group, stream_name=stream, consumer_strategy="RoundRobin"
    )
    tries = {retried: 0}

    def answer(subscription, event):
        if event.id == skipped:
            subscription.nack(event, "skip")
        elif event.id == parked:
            subscription.nack(event, "park")
        elif tries[retried] == 0:
            tries[retried] += 1
            subscription.nack(event, "retry")
        else:
            assert event.retry_count == 1
            subscription.ack(event)

    subscription = client.read_subscription_to_stream(group_name=group, stream_name=stream)
    seen = ids(take(subscription, 4, answer))
    assert sorted(map(str, seen)) == sorted(map(str, [retried, retried, skipped, parked])), seen
    for _ in range(100):
        info = client.get_subscription_info(group_name=group, stream_name=stream)
        if info.parked_message_count == 1:
            break
        time.sleep(0.1)
    assert info.parked_message_count == 1
    client.replay_parked_events(group_name=group, stream_name=stream)
    assert ids(take(subscription, 1)) == [parked]
    subscription.stop()


def all_streams_are_consumed_through_a_filter(client):
    group, event_type = new_name("group"), "T" + uuid.uuid4().hex
    first = put(client, new_name(), 2, event_type)
    put(client, new_name(), 5)
    client.create_subscription_to_all(group_name=group, filter_include=[event_type])
    subscription = client.read_subscription_to_all(group_name=group)
    assert ids(take(subscription, 2)) == first
    more = put(client, new_name(), 2, event_type)
    assert ids(take(subscription, 2)) == more
    subscription.stop()


def a_category_is_consumed_by_its_links(client):
    category, group = "c" + uuid.uuid4().hex, new_name("group")
    written = put(client, f"{category}-1", 2) + put(client, f"{category}-2", 1)
    client.create_subscription_to_stream(
        group_name=group, stream_name=f"$ce-{category}", resolve_links=True
    )
    subscription = client.read_subscription_to_stream(
        group_name=group, stream_name=f"$ce-{category}"
    )
    taken = take(subscription, 3)
    assert ids(taken) == written
    assert [event.stream_name for event in taken] == [f"{category}-1"] * 2 + [f"{category}-2"]
    subscription.stop()


def what_is_acknowledged_stays_so_over_a_restart(client):
    stream, group = new_name(), new_name("group")
    written = put(client, stream, 6)
    client.create_subscription_to_stream(
        group_name=group, stream_name=stream, min_checkpoint_count=1, checkpoint_after=0.1
    )
    subscription = client.read_subscription_to_stream(group_name=group, stream_name=stream)
    assert ids(take(subscription, 3)) == written[:3]
    subscription.stop()
    time.sleep(1)
    subprocess.run(os.environ["RESTART"], shell=True, check=True)
    client = connect()
    subscription = client.read_subscription_to_stream(group_name=group, stream_name=stream)
    assert ids(take(subscription, 3)) == written[3:]
    subscription.stop()
    client.close()


CASES = [
    a_stream_is_consumed_once_and_in_order,
    refused_events_are_tried_again_skipped_or_parked_and_replayed,
    all_streams_are_consumed_through_a_filter,
    a_category_is_consumed_by_its_links,
    what_is_acknowledged_stays_so_over_a_restart,
]


def main():
    client = connect()
    for case in CASES:
        case(client)
        print(f"{PACKAGE}: {case.__name__}: ok", flush=True)


main()
