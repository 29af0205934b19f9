"""Catch-up subscriptions of KurrentDB's Python clients on Icecore, with asserted results."""

import threading
import time

from clients import (
    ANY,
    NO_STREAM,
    connect,
    event,
    exceptions,
    ids,
    new_name,
    positions,
    put,
    raises,
    restart_server,
    run,
)


def subscriptions(client):
    name = new_name()
    client.append_to_stream(name, current_version=ANY, events=[event(n) for n in range(3)])
    options = {"include_caught_up": True}
    from_start = client.subscribe_to_stream(name, **options)
    after = client.subscribe_to_stream(name, stream_position=1, **options)
    from_end = client.subscribe_to_stream(name, from_end=True, **options)
    missing = client.subscribe_to_stream(name + "-later", **options)
    all_streams = client.subscribe_to_all(from_end=True, **options)
    assert positions(next(from_start) for _ in range(3)) == [0, 1, 2]
    assert next(after).stream_position == 2
    everybody = [from_start, after, from_end, missing, all_streams]
    assert all(next(subscription).is_caught_up for subscription in everybody)
    client.append_event(name, current_version=2, event=event(3))
    for subscription in [from_start, after, from_end, all_streams]:
        found = next(subscription)
        assert (found.stream_name, found.stream_position) == (name, 3)
    client.append_event(name + "-later", current_version=NO_STREAM, event=event(4))
    assert next(missing).stream_position == 0
    for subscription in everybody:
        subscription.stop()


def checkpoints(client):
    name = new_name("checkpoint")
    start = client.get_commit_position()
    subscription = client.subscribe_to_all(
        commit_position=start,
        filter_include=[name],
        filter_by_stream_name=True,
        include_checkpoints=True,
        window_size=5,
        checkpoint_interval_multiplier=2,
    )
    for n in range(25):
        client.append_event(new_name(), current_version=ANY, event=event(n))
    last = client.append_event(name, current_version=ANY, event=event(25))
    reached = []
    while True:
        found = next(subscription)
        if not found.is_checkpoint:
            break
        reached.append(found.commit_position)
    assert found.commit_position == last
    assert reached and reached == sorted(set(reached)), reached
    assert start <= reached[0] and reached[-1] < last
    subscription.stop()


def tombstone_ends_a_subscription(client):
    name = new_name()
    client.append_event(name, current_version=ANY, event=event())
    subscription = client.subscribe_to_stream(name)
    assert next(subscription).stream_position == 0
    client.tombstone_stream(name, current_version=ANY)
    assert next(subscription).type == "$streamDeleted"
    raises((exceptions.StreamIsDeletedError, StopIteration), next, subscription)


def a_subscription_through_a_filter(client):
    name = new_name("wanted")
    start = client.get_commit_position()
    by_name = dict(filter_include=[name + ".*"], filter_by_stream_name=True)
    by_type = dict(filter_include=[name])
    without = dict(filter_exclude=["OrderPlaced", r"\$.+"])
    followers = [
        client.subscribe_to_all(commit_position=start, **filter)
        for filter in [by_name, by_type, without]
    ]
    put(client, new_name(), 2)
    wanted = put(client, name, 2, type=name)
    for subscription in followers:
        assert ids(next(subscription) for _ in range(2)) == wanted
    more = put(client, name, 1, type=name)
    for subscription in followers:
        assert [next(subscription).id] == more
        subscription.stop()


def restart_within_subscriptions(_):
    """Ends the server without a word; nothing that was acknowledged is lost, none comes twice."""
    name, count = new_name(), 200
    of_stream = lambda client, after: client.subscribe_to_stream(
        name, stream_position=after and after.stream_position
    )
    of_all = lambda client, after: client.subscribe_to_all(
        commit_position=after and after.commit_position,
        filter_include=[name],
        filter_by_stream_name=True,
    )
    followers = [Follower(subscribe, count) for subscribe in [of_stream, of_all]]
    written = write_over_a_restart(name, count)
    for follower in followers:
        follower.join(timeout=60)
        follower.over.set()
        assert not follower.is_alive(), "it does not get everything"
        assert follower.seen == written, (len(follower.seen), len(written))
    assert ids(connect().get_stream(name)) == written


class Follower(threading.Thread):
    """Subscribes, and again after the last event that it has seen when the server has gone."""

    def __init__(self, subscribe, count):
        super().__init__(daemon=True)
        self.subscribe, self.count = subscribe, count
        self.seen, self.over = [], threading.Event()
        self.start()

    def run(self):
        client, last = connect(), None
        while not self.over.is_set():
            try:
                with self.subscribe(client, last) as subscription:
                    for last in subscription:
                        self.seen.append(last.id)
                        if len(self.seen) == self.count:
                            return
            except (exceptions.GrpcError, exceptions.DiscoveryFailedError):
                time.sleep(0.05)


def write_over_a_restart(name, count):
    writer, written = connect(), []
    for n in range(count):
        if n == count // 2:
            restart_server()
        one = event(n)
        for _ in range(300):
            try:
                writer.append_event(name, current_version=n - 1 if n else NO_STREAM, event=one)
                break
            except (exceptions.GrpcError, exceptions.DiscoveryFailedError):
                time.sleep(0.1)
        else:
            raise AssertionError("the server does not come back")
        written.append(one.id)
    return written


run(
    [
        subscriptions,
        checkpoints,
        a_subscription_through_a_filter,
        tombstone_ends_a_subscription,
        restart_within_subscriptions,
    ]
)
