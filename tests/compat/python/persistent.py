"""Persistent subscriptions of KurrentDB's Python clients on Icecore, with asserted results."""

import uuid

from clients import (
    connect,
    exceptions,
    ids,
    new_name,
    put,
    raises,
    restart_server,
    run,
    until,
)

AlreadyExists, NotFound = exceptions.AlreadyExistsError, exceptions.NotFoundError


class Group:
    """A new group on a stream, or on all streams, and the client's calls for it."""

    def __init__(self, client, stream=None, **settings):
        self.client, self.name, self.stream = client, new_name("group"), stream
        self.id = {"group_name": self.name} | ({"stream_name": stream} if stream else {})
        self.calls = "stream" if stream else "all"
        self.create(**settings)

    def call(self, verb, **settings):
        return getattr(self.client, f"{verb}_subscription_to_{self.calls}")(**self.id, **settings)

    def create(self, **settings):
        self.call("create", **settings)

    def update(self, **settings):
        self.call("update", **settings)

    def read(self, **settings):
        return self.call("read", **settings)

    def info(self):
        return self.client.get_subscription_info(**self.id)

    def delete(self):
        self.client.delete_subscription(**self.id)

    def replay(self):
        self.client.replay_parked_events(**self.id)

    def until_parked(self, count):
        until(lambda: self.info().parked_message_count == count)


def take(subscription, count, answer=lambda subscription, event: subscription.ack(event)):
    """The next events, each answered as it comes."""
    taken = []
    for event in subscription:
        answer(subscription, event)
        taken.append(event)
        if len(taken) == count:
            break
    return taken


def a_stream_is_consumed_once_and_in_order(client):
    stream = new_name()
    written = put(client, stream, 3)
    group = Group(client, stream)
    raises(AlreadyExists, group.create)
    subscription = group.read()
    assert ids(take(subscription, 3)) == written
    more = put(client, stream, 2)
    assert ids(take(subscription, 2)) == more
    subscription.stop()
    last = put(client, stream, 1)
    subscription = group.read()
    assert ids(take(subscription, 1)) == last
    subscription.stop()
    group.update(max_retry_count=3, consumer_strategy="Pinned")
    info = group.info()
    assert (info.group_name, info.event_source) == (group.name, stream)
    assert (info.max_retry_count, info.consumer_strategy) == (3, "Pinned")
    assert group.name in [each.group_name for each in client.list_subscriptions()]
    assert [each.group_name for each in client.list_subscriptions_to_stream(stream)] == [group.name]
    group.delete()
    for call in [group.delete, group.info, group.update, group.replay]:
        raises(NotFound, call)


def refused_events_are_tried_again_skipped_or_parked_and_replayed(client):
    stream = new_name()
    retried, skipped, parked = put(client, stream, 3)
    group = Group(client, stream, consumer_strategy="RoundRobin")
    seen = []

    def answer(subscription, event):
        seen.append((event.id, event.retry_count))
        if event.id == skipped:
            subscription.nack(event, "skip")
        elif event.id == parked:
            subscription.nack(event, "park")
        elif event.retry_count == 0:
            subscription.nack(event, "retry")
        else:
            subscription.ack(event)

    subscription = group.read()
    take(subscription, 4, answer)
    assert sorted(seen) == sorted([(retried, 0), (retried, 1), (skipped, 0), (parked, 0)]), seen
    group.until_parked(1)
    group.replay()
    assert ids(take(subscription, 1)) == [parked]
    group.until_parked(0)
    subscription.stop()


def whoever_fails_too_often_is_parked(client):
    stream = new_name()
    written = put(client, stream, 1)
    group = Group(client, stream, max_retry_count=2)
    subscription = group.read()
    tried = take(subscription, 3, lambda subscription, event: subscription.nack(event, "retry"))
    assert ids(tried) == written * 3
    assert [event.retry_count for event in tried] == [0, 1, 2]
    group.until_parked(1)
    subscription.stop()


def consumers_share_and_give_back(client):
    """What is not answered in time goes to another consumer; so does what a consumer leaves behind."""
    stream = new_name()
    written = put(client, stream, 10)
    group = Group(client, stream, consumer_strategy="RoundRobin", message_timeout=1)
    slow = group.read()
    assert ids(take(slow, 10, lambda *_: None)) == written
    other = group.read()
    again = take(other, 1)
    assert again[0].retry_count == 1
    slow.stop()
    again += take(other, 9)
    assert sorted(ids(again)) == sorted(written)
    other.stop()


def whoever_stops_leaves(client):
    """What a consumer had that stops goes to another."""
    stream = new_name()
    written = put(client, stream, 2)
    group = Group(client, stream)
    subscription = group.read()
    take(subscription, 1, lambda subscription, event: subscription.nack(event, "stop"))
    raises(exceptions.GrpcError, list, subscription)
    other = group.read()
    assert ids(take(other, 2)) == written
    other.stop()


def all_streams_are_consumed_through_a_filter(client):
    one, two, event_type = new_name(), new_name(), "T" + uuid.uuid4().hex
    first = put(client, one, 2, type=event_type)
    put(client, new_name(), 5)
    by_type = Group(client, filter_include=[event_type])
    by_name = Group(client, filter_include=[two], filter_by_stream_name=True)
    raises(AlreadyExists, by_type.create)
    subscription, named = by_type.read(), by_name.read()
    assert ids(take(subscription, 2)) == first
    put(client, new_name(), 1)
    more = put(client, two, 2, type=event_type)
    assert ids(take(named, 2)) == more
    park = lambda subscription, event: subscription.nack(event, "park")
    assert ids(take(subscription, 2, park)) == more
    by_type.until_parked(2)
    by_type.replay()
    assert ids(take(subscription, 2)) == more
    subscription.stop()
    named.stop()
    by_type.update(max_retry_count=3)
    info = by_type.info()
    assert (info.event_source, info.max_retry_count) == ("$all", 3)
    by_type.delete()
    raises(NotFound, by_type.delete)
    raises(NotFound, by_type.info)


def a_category_is_consumed_by_its_links(client):
    category = "c" + uuid.uuid4().hex
    written = put(client, f"{category}-1", 2) + put(client, f"{category}-2", 1)
    subscription = Group(client, f"$ce-{category}", resolve_links=True).read()
    taken = take(subscription, 3)
    assert ids(taken) == written
    assert [event.stream_name for event in taken] == [f"{category}-1"] * 2 + [f"{category}-2"]
    subscription.stop()


def what_is_acknowledged_stays_so_over_a_restart(client):
    stream = new_name()
    written = put(client, stream, 6)
    group = Group(client, stream, min_checkpoint_count=1, checkpoint_after=0.1)
    subscription = group.read()
    assert ids(take(subscription, 3)) == written[:3]
    until(lambda: group.info().last_checkpointed_event_position == "2")
    subscription.stop()
    restart_server()
    group.client = connect()
    subscription = group.read()
    assert ids(take(subscription, 3)) == written[3:]
    subscription.stop()
    group.client.close()


run(
    [
        a_stream_is_consumed_once_and_in_order,
        refused_events_are_tried_again_skipped_or_parked_and_replayed,
        whoever_fails_too_often_is_parked,
        consumers_share_and_give_back,
        whoever_stops_leaves,
        all_streams_are_consumed_through_a_filter,
        a_category_is_consumed_by_its_links,
        what_is_acknowledged_stays_so_over_a_restart,
    ]
)
