"""Moves the events of the server at ICECORE to a new one with migrate.py and compares them.

Called by tests/compat/run after the clients have filled the first server; BINARY is the program.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.environ["BINARY"]
SOURCE = os.environ["ICECORE"]
KEPT = ("stream", "type", "id", "content_type", "data", "data_base64", "metadata", "metadata_base64")


def icecore(address, *arguments):
    command = [BINARY, "--server", f"http://{address}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exported(address):
    """All events of users and the metadata of their streams, as they are exported."""
    lines = icecore(address, "export", "--all", "--system").splitlines()
    # Numbers as they are written: some have three million digits.
    lines = [json.loads(line, parse_int=str, parse_float=str) for line in lines]
    return [line for line in lines if not line["stream"].removeprefix("$$").startswith("$")]


def microseconds(time):
    """A time in what a Python time can hold, cut off there."""
    whole, _, part = time.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1_000_000 + int(part[:6].ljust(6, "0"))


def start(data):
    server = subprocess.Popen(
        [BINARY, "serve", "--listen", "127.0.0.1:0", "--data", data, "--free-bytes-min", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in server.stderr:
        if found := re.search(r"listening on http://([0-9.:]+)", line):
            return server, found[1]
    raise AssertionError("the second server did not start")


def main():
    lines = subprocess.run(
        [sys.executable, os.path.join(HERE, "migrate.py"), f"kurrentdb://{SOURCE}?tls=false"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "events.ndjson")
        with open(path, "w") as file:
            file.write(lines)
        server, address = start(os.path.join(directory, "data"))
        try:
            icecore(address, "import", path)
            before, after = exported(SOURCE), exported(address)
        finally:
            server.kill()
            server.wait()
    assert len(before) > 100, f"only {len(before)} events to move"
    assert len(before) == len(after), (len(before), len(after))
    for old, new in zip(before, after):
        for field in KEPT:
            assert old.get(field) == new.get(field), (field, old, new)
        # The client rounds.
        assert 0 <= microseconds(new["time"]) - microseconds(old["time"]) <= 1, (old, new)
    print(f"migration: {len(after)} events moved and compared")


main()
