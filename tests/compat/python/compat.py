"""What KurrentDB's Python clients do with Icecore, with asserted results: appends, reads, deletions,
metadata, links, and appends to several streams at once.
"""

import json
import time
import uuid

from clients import (
    ADDRESS,
    ANY,
    EXISTS,
    IS_NEW,
    NO_STREAM,
    SCHEME,
    connect,
    event,
    events_module,
    exceptions,
    ids,
    module,
    new_name,
    positions,
    raises,
    run,
    until,
)


def appends_in_each_form(client):
    name = new_name()
    first = [event(n) for n in range(3)]
    at = client.append_to_stream(name, current_version=NO_STREAM, events=first)
    one = event(3)
    then = client.append_event(name, current_version=2, event=one)
    assert then > at
    assert client.append_to_stream(name, current_version=EXISTS, events=event(4)) > then
    client.append_events(name, current_version=ANY, events=iter([event(5), event(6)]))
    read = client.get_stream(name)
    assert positions(read) == [0, 1, 2, 3, 4, 5, 6]
    assert ids(read[:4]) == ids(first + [one])
    assert read[2].commit_position == at and read[3].commit_position == then
    assert client.get_current_version(name) == 6
    assert client.get_current_version(new_name()) == NO_STREAM


def an_event_comes_back_as_it_was(client):
    name = new_name()
    written = event(
        type="Scanned",
        data=bytes(range(256)),
        metadata=b'{ "$correlationId": "c", "n": 1.50 }',
        content_type="application/octet-stream",
    )
    client.append_event(name, current_version=ANY, event=written)
    [read] = client.get_stream(name)
    for field in ["id", "type", "data", "metadata", "content_type"]:
        assert getattr(read, field) == getattr(written, field), field
    assert read.stream_name == name and read.recorded_at is not None
    assert abs(read.recorded_at.timestamp() - time.time()) < 60


def large_appends(client):
    name = new_name()
    large = [event(n, data=b"1" * 3_000_000) for n in range(5)]
    client.append_to_stream(name, current_version=NO_STREAM, events=large)
    assert [len(e.data) for e in client.get_stream(name)] == [3_000_000] * 5
    many = [event(n) for n in range(10_000)]
    client.append_to_stream(new_name(), current_version=NO_STREAM, events=many)


def conflicts(client):
    name = new_name()
    wrong = exceptions.WrongCurrentVersionError
    client.append_to_stream(name, current_version=NO_STREAM, events=[event(), event()])
    for expected in [NO_STREAM, 0, 7]:
        raises(wrong, client.append_to_stream, name, current_version=expected, events=[event()])
        raises(wrong, client.append_event, name, current_version=expected, event=event())
    other = new_name()
    raises(wrong, client.append_to_stream, other, current_version=EXISTS, events=[event()])
    raises(wrong, client.append_event, other, current_version=0, event=event())
    assert client.get_current_version(name) == 1


def retries_are_written_once(client):
    name = new_name()
    e1, e2, e3, e4 = (event(n) for n in range(4))
    put = lambda expected, *events: client.append_to_stream(
        name, current_version=expected, events=events
    )
    p1, p2, p3 = put(NO_STREAM, e1), put(0, e2), put(1, e3)
    assert (put(NO_STREAM, e1), put(0, e2), put(1, e3)) == (p1, p2, p3)
    assert (put(NO_STREAM, e1, e2), put(0, e2, e3)) == (p2, p3)
    assert (put(ANY, e2), put(EXISTS, e2, e3)) == (p2, p3)
    for expected in [0, ANY]:
        raises(exceptions.WrongCurrentVersionError, put, expected, e2, e3, e4)
    assert client.append_event(name, current_version=1, event=e3) == p3
    assert client.append_event(name, current_version=ANY, event=e1) == p1
    assert positions(client.get_stream(name)) == [0, 1, 2]


def reads_in_each_direction(client):
    name = new_name()
    client.append_to_stream(name, current_version=ANY, events=[event(n) for n in range(5)])
    read = lambda **options: positions(client.read_stream(name, **options))
    assert read() == [0, 1, 2, 3, 4]
    assert read(stream_position=3) == [3, 4]
    assert read(stream_position=9) == []
    assert read(limit=2) == [0, 1]
    assert read(backwards=True) == [4, 3, 2, 1, 0]
    assert read(backwards=True, stream_position=1) == [1, 0]
    assert read(backwards=True, limit=1) == [4]
    raises(exceptions.NotFoundError, client.get_stream, new_name())


def reads_of_all(client):
    name = new_name()
    first = client.append_event(name, current_version=ANY, event=event(1))
    last = client.append_event(name, current_version=ANY, event=event(2))
    forwards = list(client.read_all(commit_position=first))
    assert [e.commit_position for e in forwards] == [first, last]
    back = list(client.read_all(commit_position=last, backwards=True, limit=1))
    assert [e.commit_position for e in back] == [first]
    assert next(iter(client.read_all(backwards=True))).commit_position == last
    assert client.get_commit_position() == last


def filters(client):
    prefix = uuid.uuid4().hex
    start = client.get_commit_position()
    for stream, event_type in [("a", "OneThing"), ("b", "OtherThing"), ("b", "OneThing")]:
        client.append_event(
            f"{prefix}-{stream}", current_version=ANY, event=event(type=event_type)
        )
    client.set_stream_metadata(f"{prefix}-a", metadata={"$maxCount": 9})
    types = lambda **options: [
        e.type for e in client.read_all(commit_position=start + 1, **options)
    ]
    assert types() == ["OneThing", "OtherThing", "OneThing"]
    assert types(filter_exclude=[]) == ["OneThing", "OtherThing", "OneThing", "$metadata"]
    assert types(filter_include=["One.*"]) == ["OneThing", "OneThing"]
    assert types(filter_exclude=["One.*", r"\$.+"]) == ["OtherThing"]
    of_b = dict(filter_include=[f"{prefix}-b"], filter_by_stream_name=True)
    assert types(**of_b) == ["OtherThing", "OneThing"]
    if IS_NEW:
        assert types(filter_include=["Other"], filter_by_prefix=True) == ["OtherThing"]


def deletions(client):
    name = new_name()
    put = lambda expected: client.append_to_stream(
        name, current_version=expected, events=[event()]
    )
    put(NO_STREAM)
    wrong, not_found = exceptions.WrongCurrentVersionError, exceptions.NotFoundError
    raises(wrong, client.delete_stream, name, current_version=7)
    raises(not_found, client.delete_stream, new_name(), current_version=ANY)
    raises(not_found, client.delete_stream, new_name(), current_version=3)
    client.delete_stream(name, current_version=0)
    raises(not_found, client.get_stream, name)
    client.delete_stream(name, current_version=ANY)
    deleted = exceptions.StreamIsDeletedError
    raises(deleted, client.delete_stream, name, current_version=EXISTS)
    put(NO_STREAM)
    assert positions(client.get_stream(name)) == [1]
    client.tombstone_stream(name, current_version=1)
    raises(deleted, client.get_stream, name)
    raises(deleted, put, ANY)
    # The client has no better word for it in this form of an append.
    failed = exceptions.FailedPreconditionError
    raises(failed, client.append_event, name, current_version=ANY, event=event())
    raises(deleted, client.delete_stream, name, current_version=ANY)
    raises(deleted, client.tombstone_stream, name, current_version=ANY)
    raises(deleted, client.get_stream_metadata, name)
    client.tombstone_stream(new_name(), current_version=NO_STREAM)
    raises(not_found, client.tombstone_stream, new_name(), current_version=2)


def metadata(client):
    name = new_name()
    assert client.get_stream_metadata(name) == ({}, NO_STREAM)
    client.append_to_stream(name, current_version=ANY, events=[event(n) for n in range(5)])
    assert client.get_stream_metadata(name) == ({}, NO_STREAM)
    acl = {"$acl": {"$r": ["$admins"], "$w": "$all"}, "mine": [1, {"a": None}], "$maxCount": 3}
    client.set_stream_metadata(name, metadata=acl, current_version=NO_STREAM)
    assert client.get_stream_metadata(name) == (acl, 0)
    wrong = exceptions.WrongCurrentVersionError
    raises(wrong, client.set_stream_metadata, name, metadata={}, current_version=NO_STREAM)
    assert positions(client.get_stream(name)) == [2, 3, 4]
    client.set_stream_metadata(name, metadata={"$tb": 4}, current_version=0)
    assert positions(client.get_stream(name)) == [4]
    client.set_stream_metadata(name, metadata={"$maxAge": 9999, "$cacheControl": 60})
    assert positions(client.get_stream(name)) == [0, 1, 2, 3, 4]
    client.set_stream_metadata(name, metadata={"$maxAge": 1})
    until(lambda: client.get_stream(name) == ())
    assert client.get_current_version("$$" + name) == 3


def links(client):
    name, listing = new_name(), new_name("list")
    client.append_to_stream(name, current_version=ANY, events=[event(n) for n in range(3)])
    links = [event(type="$>", data=f"{n}@{name}".encode()) for n in [2, 0, 9]]
    client.append_to_stream(listing, current_version=ANY, events=links)
    plain = client.get_stream(listing)
    assert [e.type for e in plain] == ["$>"] * 3
    resolved = client.get_stream(listing, resolve_links=True)
    assert [(e.stream_name, e.stream_position) for e in resolved] == [(name, 2), (name, 0)]
    assert [e.link.stream_position for e in resolved] == [0, 1]


def discovery(_):
    client = connect(f"{SCHEME}+discover")
    [member] = client.read_gossip()
    assert f"{member.address}:{member.port}" == ADDRESS
    client.append_event(new_name(), current_version=NO_STREAM, event=event())
    client.close()


def several_streams_at_once(client):
    NewEvents = module.NewEvents
    a, b, c = new_name(), new_name(), new_name()
    to = lambda name, expected, *events: NewEvents(name, events=events, current_version=expected)
    e1 = event(1, metadata=b'{"user": "me"}')
    parts = [to(a, NO_STREAM, e1, event(2)), to(b, ANY, event(3, data=b"\0", content_type="application/octet-stream"))]
    at = client.multi_append_to_stream(parts)
    assert client.multi_append_to_stream(parts) == at
    assert json.loads(client.get_stream(a)[0].metadata) == {"user": "me"}
    assert client.get_stream(b)[0].content_type == "application/octet-stream"
    again = [to(c, NO_STREAM, event(4)), to(a, NO_STREAM, event(5))]
    conflict = raises(exceptions.WrongCurrentVersionError, client.multi_append_to_stream, again)
    numbers = (conflict.expected_version, conflict.actual_version)
    assert conflict.stream_name == a and numbers == (NO_STREAM, 1), numbers
    raises(exceptions.NotFoundError, client.get_stream, c)
    same = [to(c, ANY, event(6)), to(c, ANY, event(7))]
    raises(exceptions.MultiAppendToSameStreamError, client.multi_append_to_stream, same)
    client.tombstone_stream(b, current_version=ANY)
    closed = [to(c, ANY, event(8)), to(b, ANY, event(9))]
    raises(exceptions.StreamTombstonedError, client.multi_append_to_stream, closed)


def records_with_checks(client):
    NewRecord, Check = events_module.NewRecord, events_module.StreamStateCheck
    a, b, rule = new_name(), new_name(), new_name()
    client.append_event(rule, current_version=NO_STREAM, event=event())
    record = lambda name, n: NewRecord(name, type="OrderPlaced", data=b"%d" % n)
    result = client.append_records(
        [record(a, 1), record(b, 2), record(a, 3)],
        [Check(rule, 0), Check(a, NO_STREAM)],
    )
    assert positions(client.get_stream(a)) == [0, 1]
    assert result.commit_position == client.get_commit_position()
    written = [(r.stream_name, r.stream_position) for r in result.stream_positions]
    assert written == [(a, 1), (b, 0)], written
    failed = raises(
        exceptions.ConsistencyChecksFailedError,
        client.append_records,
        [record(b, 4)],
        [Check(rule, 7), Check(a, NO_STREAM)],
    )
    assert len(failed.failures) == 2
    assert positions(client.get_stream(b)) == [0]


CASES = [
    appends_in_each_form,
    an_event_comes_back_as_it_was,
    large_appends,
    conflicts,
    retries_are_written_once,
    reads_in_each_direction,
    reads_of_all,
    filters,
    deletions,
    metadata,
    links,
    discovery,
]
if IS_NEW:
    CASES += [several_streams_at_once, records_with_checks]
run(CASES)
