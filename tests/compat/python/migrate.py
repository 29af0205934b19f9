"""Writes the events of a KurrentDB or EventStoreDB as lines that `icecore import` takes.

    python migrate.py 'kurrentdb://localhost:2113?tls=false' > events.ndjson

Keeps the order, ids, types, metadata and times (to the microsecond), tombstones, and the metadata of
streams. Leaves out what the other store keeps for itself: its system streams, and the links of its
projections, which Icecore answers from its indexes. Needs the package kurrentdbclient.
"""

import base64
import json
import sys

from kurrentdbclient import KurrentDBClient


def is_users(stream):
    """Whether a stream, or the stream that this is the metadata of, belongs to users."""
    return not stream.removeprefix("$$").startswith("$")


def line(event):
    fields = {
        "stream": event.stream_name,
        "type": event.type,
        "id": str(event.id),
        "time": event.recorded_at.isoformat(),
        "content_type": event.content_type,
        "data_base64": base64.b64encode(event.data).decode(),
    }
    if event.metadata:
        fields["metadata_base64"] = base64.b64encode(event.metadata).decode()
    return json.dumps(fields)


def main(uri):
    client = KurrentDBClient(uri)
    for event in client.read_all(filter_exclude=()):
        if is_users(event.stream_name):
            print(line(event))


if __name__ == "__main__":
    main(sys.argv[1])
