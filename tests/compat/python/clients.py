"""KurrentDB's Python clients, and what the programs that try them share.

The server's address is in ICECORE, the client's package (kurrentdbclient or esdbclient) in CLIENT, and
RESTART kills the server and starts it again.
"""

import importlib
import json
import os
import subprocess
import time
import traceback
import uuid

PACKAGE = os.environ["CLIENT"]
ADDRESS = os.environ["ICECORE"]
IS_NEW = PACKAGE == "kurrentdbclient"
SCHEME = "kurrentdb" if IS_NEW else "esdb"

module = importlib.import_module(PACKAGE)
events_module = importlib.import_module(PACKAGE + ".events")
Client = module.KurrentDBClient if IS_NEW else module.EventStoreDBClient
NewEvent, StreamState = module.NewEvent, module.StreamState
ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS


class Exceptions:
    """The client's exceptions; the older client leaves out `Error` at the end of a name."""

    module = importlib.import_module(PACKAGE + ".exceptions")

    def __getattr__(self, name):
        return getattr(self.module, name, None) or getattr(self.module, name.removesuffix("Error"))


exceptions = Exceptions()


def connect(scheme=SCHEME):
    return Client(f"{scheme}://{ADDRESS}?tls=false")


def new_name(prefix="order"):
    return f"{prefix}-{uuid.uuid4()}"


def event(number=0, **fields):
    fields = {"type": "OrderPlaced", "data": json.dumps({"n": number}).encode(), **fields}
    return NewEvent(**fields)


def put(client, stream, count, **fields):
    """Appends so many events, and gives their ids."""
    events = [event(n, **fields) for n in range(count)]
    client.append_to_stream(stream, current_version=ANY, events=events)
    return ids(events)


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as raised:
        return raised
    raise AssertionError(f"no {error} from {call}")


def ids(events):
    return [event.id for event in events]


def positions(events):
    return [event.stream_position for event in events]


def until(condition):
    """Waits for something that takes a moment."""
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"{condition} does not come true")


def restart_server():
    subprocess.run(os.environ["RESTART"], shell=True, check=True)


def run(cases):
    client = connect()
    for case in cases:
        try:
            case(client)
        except BaseException:
            # What a client has open would keep the program alive.
            traceback.print_exc()
            os._exit(1)
        print(f"{PACKAGE}: {case.__name__}: ok", flush=True)
    client.close()
