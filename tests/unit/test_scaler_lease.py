"""Leader election, on clocks that are wrong."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waiting import eventually
from warren.errors import KubernetesError
from warren_scaler.deployments.cluster import Conflict
from warren_scaler.deployments.lease import Election, LeaseRecord

SECONDS = 10


@dataclass
class FakeLeases:
    """A lease with a version, on a server that may be away."""

    record: LeaseRecord | None = None
    version: int = 0
    away: bool = False

    def read(self) -> tuple[LeaseRecord, str] | None:
        self._ask()
        return None if self.record is None else (self.record, str(self.version))

    def create(self, record: LeaseRecord) -> None:
        self._ask()
        if self.record is not None:
            raise Conflict("there is one")
        self.record = record
        self.version += 1

    def replace(self, record: LeaseRecord, version: str) -> None:
        self._ask()
        if version != str(self.version):
            raise Conflict("another version")
        self.record = record
        self.version += 1

    def _ask(self) -> None:
        if self.away:
            raise KubernetesError("the API server does not answer")


class Clock:
    """True time, told with an offset and at a rate of its own."""

    def __init__(self, offset: float = 0.0, rate: float = 1.0) -> None:
        self.offset = offset
        self.rate = rate
        self.now = 0.0

    def __call__(self) -> float:
        return self.offset + self.now * self.rate


def test_the_first_leads_and_the_second_waits_while_it_renews() -> None:
    leases, clock = FakeLeases(), Clock()
    first, second = (Election(leases, name, SECONDS, clock=clock) for name in ("one", "two"))

    for _ in range(40):
        first.turn()
        second.turn()
        clock.now += 1.5

        assert (first.leading, second.leading) == (True, False)


def test_a_leader_that_falls_silent_is_followed_within_the_leases_time() -> None:
    leases, clock = FakeLeases(), Clock()
    first, second = (Election(leases, name, SECONDS, clock=clock) for name in ("one", "two"))
    first.turn()
    second.turn()

    while not second.leading:
        clock.now += 1.5
        second.turn()

    assert SECONDS <= clock.now <= SECONDS + 1.5
    assert not first.leading
    assert leases.record == LeaseRecord(holder="two", seconds=SECONDS, transitions=1)
    first.turn()
    assert not first.leading


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    offsets=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=3),
    rates=st.lists(st.floats(0.85, 1.18), min_size=3, max_size=3),
)
def test_no_two_lead_at_once_whatever_their_clocks_say(seed: int, offsets: list[float], rates: list[float]) -> None:
    """Clocks may run 38 % faster than one another, 1 / 0.7 of which the margin allows for."""
    rng, leases = Random(seed), FakeLeases()
    clocks = [Clock(offset, rates[number]) for number, offset in enumerate(offsets)]
    elections = [Election(leases, str(number), SECONDS, clock=clock) for number, clock in enumerate(clocks)]
    led = 0
    for _ in range(300):
        for clock in clocks:
            clock.now += 0.5
        leases.away = rng.random() < 0.2
        for election in rng.sample(elections, len(elections)):
            # A candidate may be stopped for any time.
            if rng.random() < 0.15:
                with contextlib.suppress(KubernetesError):
                    election.turn()
            assert sum(each.leading for each in elections) <= 1
        led += any(each.leading for each in elections)

    assert led > 0


def test_a_leader_cut_off_from_the_api_server_stops_leading_before_another_begins() -> None:
    leases, clock = FakeLeases(), Clock()
    first, second = (Election(leases, name, SECONDS, clock=clock) for name in ("one", "two"))
    first.turn()
    second.turn()
    stopped = taken = 0.0
    while not second.leading:
        clock.now += 0.5
        second.turn()
        if not first.leading and not stopped:
            stopped = clock.now
        taken = clock.now

    assert 0 < stopped < taken


def test_a_lease_given_back_is_taken_at_once() -> None:
    leases = FakeLeases()
    first, second = (Election(leases, name, SECONDS) for name in ("one", "two"))
    first.start()
    first.start()
    eventually(lambda: first.leading)

    first.stop()
    first.stop()

    assert leases.record is not None
    assert leases.record.holder == ""
    second.turn()
    assert (first.leading, second.leading) == (False, True)


def test_an_outage_is_logged_once_and_the_lease_is_left_to_run_out(caplog: pytest.LogCaptureFixture) -> None:
    leases = FakeLeases(away=True)
    election = Election(leases, "one", 1)

    election.start()
    eventually(lambda: "cannot renew or take the lease" in caplog.text)
    caplog.set_level("INFO")
    election.stop()

    assert not election.leading
    assert caplog.text.count("cannot renew or take the lease") == 1
    assert "the lease is left to run out" in caplog.text
