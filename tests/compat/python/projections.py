"""Projections of KurrentDB's Python clients on Icecore, with asserted results: those of the system as
streams of links, and the books of those of users.
"""

import json
import uuid

from clients import (
    ANY,
    IS_NEW,
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

QUERY = "fromAll().when({ $init() { return {}; } })"


def links_in(client, stream):
    """The events that the links of a stream lead to, after a look at the links themselves."""
    plain = client.get_stream(stream)
    resolved = client.get_stream(stream, resolve_links=True)
    assert [(link.type, link.stream_name, link.link) for link in plain] == [
        ("$>", stream, None)
    ] * len(plain)
    assert [link.data.decode() for link in plain] == [
        f"{found.stream_position}@{found.stream_name}" for found in resolved
    ]
    assert ids(found.link for found in resolved) == ids(plain)
    assert positions(plain) == sorted(positions(plain))
    back = client.get_stream(stream, resolve_links=True, backwards=True)
    assert ids(reversed(back)) == ids(resolved)
    after = client.get_stream(stream, stream_position=plain[1].stream_position, resolve_links=True)
    assert ids(after) == ids(resolved)[1:]
    return resolved


def streams_of_links(client):
    unique = uuid.uuid4().hex
    one, two = f"{unique}-1", f"{unique}-2"
    correlated = json.dumps({"$correlationId": unique}).encode()
    mine = dict(type=unique, metadata=correlated)
    [first] = put(client, one, 1, **mine)
    [other] = put(client, one, 1)
    [second] = put(client, two, 1, **mine)
    of_category = links_in(client, f"$ce-{unique}")
    assert ids(of_category) == [first, other, second]
    assert [e.stream_name for e in of_category] == [one, one, two]
    assert ids(links_in(client, f"$et-{unique}")) == [first, second]
    assert ids(links_in(client, f"$bc-{unique}")) == [first, second]
    for stream in [f"$ce-{unique}", f"$et-{unique}", f"$bc-{unique}", "$streams"]:
        to_links = dict(current_version=ANY, events=[event()])
        refused = raises(exceptions.BadRequestError, client.append_to_stream, stream, **to_links)
        assert "is read from an index" in str(refused), refused
    subscription = client.subscribe_to_stream(f"$ce-{unique}", resolve_links=True)
    assert ids(next(subscription) for _ in range(3)) == [first, other, second]
    live = put(client, two, 1)
    assert [next(subscription).id] == live
    subscription.stop()


def indexes(client):
    """The newer client reads them by names of their own."""
    unique = uuid.uuid4().hex
    start = client.get_commit_position()
    one = put(client, f"{unique}-1", 2, type=unique)
    put(client, new_name(), 1)
    two = put(client, f"{unique}-2", 1)
    assert ids(client.read_index(f"ce-{unique}")) == one + two
    assert ids(client.read_index(f"et-{unique}")) == one
    assert ids(client.read_index("all", commit_position=start, limit=3))[1:] == one
    subscription = client.subscribe_to_index(f"ce-{unique}")
    assert ids(next(subscription) for _ in range(3)) == one + two
    live = put(client, f"{unique}-2", 1)
    assert [next(subscription).id] == live
    subscription.stop()


def the_first_event_of_each_stream(client):
    one, two = new_name(), new_name()
    first, second = put(client, one, 2), put(client, two, 2)
    newest = client.get_stream("$streams", resolve_links=True, backwards=True, limit=2)
    assert ids(newest) == [second[0], first[0]]
    plain = client.get_stream("$streams", backwards=True, limit=2)
    assert [link.data.decode() for link in plain] == [f"0@{two}", f"0@{one}"]


def statistics(client, name):
    return client.get_projection_statistics(name=name)


def books_are_kept(client):
    name = new_name("projection")
    raises(exceptions.NotFoundError, statistics, client, name)
    client.create_projection(name=name, query=QUERY, emit_enabled=True)
    raises(exceptions.AlreadyExistsError, client.create_projection, name=name, query=QUERY)
    created = statistics(client, name)
    assert (created.name, created.status, created.mode) == (name, "Running", "Continuous")
    assert "not run" in created.state_reason
    client.disable_projection(name)
    assert statistics(client, name).status == "Stopped"
    client.enable_projection(name)
    assert statistics(client, name).status == "Running"
    client.update_projection(name, query=QUERY + ";", emit_enabled=False)
    assert statistics(client, name).version > created.version
    client.reset_projection(name)
    assert statistics(client, name).epoch > created.epoch
    client.restart_projections_subsystem()
    raises(exceptions.FailedPreconditionError, client.delete_projection, name)
    client.disable_projection(name)
    restart_server()
    client = connect()
    assert statistics(client, name).status == "Stopped"
    client.delete_projection(name)
    raises(exceptions.NotFoundError, statistics, client, name)
    raises(exceptions.NotFoundError, client.disable_projection, name)


def lists_of_projections(client):
    system = {"$by_category", "$by_event_type", "$by_correlation_id", "$streams"}
    for name in system:
        assert statistics(client, name).status == "Running"
    if not IS_NEW:
        return
    mine = new_name("projection")
    client.create_projection(name=mine, query=QUERY)
    for listed in [
        client.list_all_projection_statistics(),
        client.list_continuous_projection_statistics(),
    ]:
        assert system | {mine} <= {each.name for each in listed}
    client.abort_projection(mine)
    client.delete_projection(mine)


def nothing_is_computed(client):
    """The client is told what to do instead."""
    name = new_name("projection")
    client.create_projection(name=name, query=QUERY)
    error = raises(exceptions.GrpcError, client.get_projection_state, name)
    assert "UNIMPLEMENTED" in str(error) and "subscribe to $all" in str(error), error
    of_system = raises(exceptions.GrpcError, client.get_projection_state, "$by_category")
    assert "read the streams of its links" in str(of_system), of_system
    raises(exceptions.NotFoundError, client.get_projection_state, new_name("projection"))
    client.disable_projection(name)
    client.delete_projection(name)


CASES = [
    streams_of_links,
    the_first_event_of_each_stream,
    lists_of_projections,
    nothing_is_computed,
    books_are_kept,
]
if IS_NEW:
    CASES += [indexes]
run(CASES)
