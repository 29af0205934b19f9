"""What an application does that keeps its aggregates in Icecore, with asserted results.

It is written with the library `eventsourcing` and its recorder for KurrentDB. The server's address is in
ICECORE, and RESTART kills the server and starts it again.
"""

import os
import subprocess
import threading
from decimal import Decimal
from uuid import uuid4

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError
from eventsourcing.projection import ApplicationSubscription


class Account(Aggregate):
    INITIAL_VERSION = 0  # the recorder's version is the revision in the stream

    @event("Opened")
    def __init__(self, owner):
        self.owner = owner
        self.balance = Decimal()

    @event("Deposited")
    def deposit(self, amount):
        self.balance += amount

    @event("Withdrawn")
    def _withdraw(self, amount):
        self.balance -= amount

    def withdraw(self, amount):
        if amount > self.balance:
            raise ValueError(f"{amount} is more than {self.balance}")
        self._withdraw(amount)


class Bank(Application):
    env = {
        "PERSISTENCE_MODULE": "eventsourcing_kurrentdb",
        "KURRENTDB_URI": f"kurrentdb://{os.environ['ICECORE']}?tls=false",
    }
    snapshotting_intervals = {Account: 4}

    def open(self, owner, *deposits):
        account = Account(owner)
        for amount in deposits:
            account.deposit(Decimal(amount))
        self.save(account)
        return account.id

    def deposit(self, account_id, amount):
        account = self.repository.get(account_id)
        account.deposit(Decimal(amount))
        return self.save(account)[-1].notification.id

    def balance(self, account_id, version=None):
        return self.repository.get(account_id, version=version).balance


def raises(error, call, *args):
    try:
        call(*args)
    except error:
        return
    raise AssertionError(f"no {error} from {call}")


def aggregates_come_back_as_they_were(bank):
    account_id = bank.open("Ada", "10.50", "2")
    account = bank.repository.get(account_id)
    assert (account.owner, account.balance, account.version) == ("Ada", Decimal("12.50"), 2)
    account.withdraw(Decimal("0.25"))
    raises(ValueError, account.withdraw, Decimal(100))
    bank.save(account)
    assert bank.balance(account_id) == Decimal("12.25")
    assert [bank.balance(account_id, n) for n in range(3)] == [0, Decimal("10.50"), Decimal("12.50")]
    assert account_id in bank.repository
    raises(AggregateNotFoundError, bank.repository.get, uuid4())


def of_two_changes_the_second_is_refused(bank):
    account_id = bank.open("Grace")
    first, second = (bank.repository.get(account_id) for _ in range(2))
    first.deposit(Decimal(1))
    second.deposit(Decimal(2))
    bank.save(first)
    raises(IntegrityError, bank.save, second)
    assert bank.balance(account_id) == 1
    kept = list(bank.events.get(account_id))
    assert [e.originator_version for e in kept] == [0, 1]
    raises(IntegrityError, bank.events.put, kept[:1])


def snapshots_spare_the_events_before_them(bank):
    account_id = bank.open("Alan")
    for _ in range(8):
        bank.deposit(account_id, 1)
    [snapshot] = bank.snapshots.get(account_id, desc=True, limit=1)
    assert snapshot.originator_version == 8
    asked = []
    get = bank.recorder.select_events
    bank.recorder.select_events = lambda *args, **kwargs: asked.append(kwargs) or get(*args, **kwargs)
    try:
        assert bank.balance(account_id) == 8
    finally:
        bank.recorder.select_events = get
    assert [kwargs["gt"] for kwargs in asked] == [8], asked


def the_log_tells_everything_once_and_in_order(bank):
    start = bank.recorder.max_notification_id()
    accounts = [bank.open(owner, 1, 2) for owner in ["Edsger", "Barbara"]]
    found, at = [], start
    while page := bank.notification_log.select(at, limit=4, inclusive_of_start=False):
        found += page
        at = page[-1].id
    expected = [(str(account), n) for account in accounts for n in range(3)]
    assert [(str(n.originator_id), n.originator_version) for n in found] == expected
    assert at == bank.recorder.max_notification_id()
    opened = bank.notification_log.select(
        start, limit=10, topics=["__main__:Account.Opened"], inclusive_of_start=False
    )
    assert [str(n.originator_id) for n in opened] == [str(account) for account in accounts]


def a_subscription_follows(bank):
    start = bank.recorder.max_notification_id()
    account_id = bank.open("Donald", 1)
    with ApplicationSubscription(bank, gt=start) as subscription:
        watchdog = threading.Timer(60, subscription.stop)
        watchdog.start()
        seen = [next(subscription) for _ in range(2)]
        last = bank.deposit(account_id, 5)
        seen.append(next(subscription))
        watchdog.cancel()
    assert [type(e).__name__ for e, _ in seen] == ["Opened", "Deposited", "Deposited"]
    assert seen[2][0].amount == 5 and seen[2][1].notification_id == last


def everything_outlives_the_server(bank):
    account_id = bank.open("Tony", 1, 2)
    subprocess.run(os.environ["RESTART"].split(), check=True)
    assert bank.balance(account_id) == 3
    bank.deposit(account_id, 4)
    assert Bank().balance(account_id) == 7


bank = Bank()
for check in [
    aggregates_come_back_as_they_were,
    of_two_changes_the_second_is_refused,
    snapshots_spare_the_events_before_them,
    the_log_tells_everything_once_and_in_order,
    a_subscription_follows,
    everything_outlives_the_server,
]:
    check(bank)
print("eventsourcing-kurrentdb: ok")
