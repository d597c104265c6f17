"""Submits that may be sent again: `Idempotency-Key`, after draft-ietf-httpapi-idempotency-key-header.

A key belongs to a tenant and an endpoint. Whoever inserts its row first submits; the others are given the answer once
there is one. The jobs' ids come from the key, so a submit that was cut off can be done again by the next request: where
the first try got through, its jobs are in the record and are not published, or are published again as the same jobs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from warren import metrics
from warren.envelope import IDEMPOTENCY_KEY, job_id_for_key
from warren.errors import InvalidArguments, NotAccepted, Problem, UnknownTask, Unroutable
from warren_server.api.problems import Refusal
from warren_server.api.requests import JobRequest
from warren_server.errors import StoreDown, StoreError
from warren_server.store.fold import Row
from warren_server.store.idempotency import Answered, Busy, Claim, KeyName, KeyStore, Reused, Use
from warren_server.submit import Accepted, Identity, Submitter

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
_BARE: Final = re.compile(r"[!#-+\--:<-\[\]-~]+", re.ASCII)
"""Visible ASCII without `"`, `,`, `;` and `\\`, which mean something in structured fields."""
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"', re.ASCII)
"""A string of RFC 9651, 3.3.3, of visible ASCII."""
_SWEEP_SECONDS: Final = 60.0
_SWEEP_ROWS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A request to submit jobs.

    Attributes:
        tenant: Whose it is.
        endpoint: What it was sent to.
        key: Its key, if it came with one.
        document: Its body.
        single: It is about one job, not a batch.
    """

    tenant: str | None
    endpoint: str
    key: str | None
    document: Mapping[str, Any]
    single: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the body, however it was spaced and ordered."""
        return hashlib.sha256(json.dumps(self.document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def job_id(self, index: int, generation: int) -> str:
        """Name one of its jobs. A single job's first id is that of `Producer.submit` with the same tenant and key."""
        # Keys hold no line breaks, so no two of these texts are the same.
        place = "" if self.single else f"\n{index}"
        use = f"\n\n{generation}" if generation else ""
        return job_id_for_key(self.tenant or "", f"{self.key}{place}{use}")


@dataclass(frozen=True, slots=True)
class Known:
    """A job that an earlier try has submitted, as it is in the record."""

    row: Row


Result: TypeAlias = Accepted | Known | Exception
Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to answer.

    Attributes:
        status: HTTP status.
        document: The body.
        replayed: Nothing was submitted by this request.
    """

    status: int
    document: Document
    replayed: bool


class Then(Enum):
    """What becomes of a key once its request is done."""

    ANSWER = auto()
    """The answer is kept."""
    RELEASE = auto()
    """Nothing was submitted: the key is as if never used."""
    UNLOCK = auto()
    """Some may be submitted: the next request with the key goes on."""
    KEEP = auto()
    """Nobody knows yet: the next request goes on when the lock ends, and the record may know more by then."""


def then(results: Sequence[Result], *, fresh: bool) -> Then:
    """Decide what becomes of a key.

    Args:
        results: What became of the request's jobs.
        fresh: No earlier request with the key can have submitted any.
    """
    errors = [result for result in results if isinstance(result, Exception)]
    if not all(isinstance(error, Refusal | NotAccepted | UnknownTask | InvalidArguments) for error in errors):
        return Then.KEEP
    if len(errors) == len(results):
        return Then.RELEASE if fresh else Then.UNLOCK
    later = any(isinstance(error, NotAccepted) and not isinstance(error, Unroutable) for error in errors)
    return Then.UNLOCK if later else Then.ANSWER


def read_key(header: str | None) -> str | None:
    """Read the header: a quoted string, as the draft has it, or the bare key.

    Raises:
        Refusal: It is neither.
    """
    if header is None:
        return None
    text = header.strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if IDEMPOTENCY_KEY.fullmatch(key) and (quoted or _BARE.fullmatch(key)):
        return key
    message = 'must be 1 to 255 visible ASCII characters in quotes, such as "8e03978e-40d5-43dd-bc93-6894a57f9324"'
    problem = Problem(field=HEADER, rule="structured_string", message=message)
    raise Refusal("invalid-request", f"{HEADER} is {header!r:.100}: {message}", problems=[problem])


class Keys:
    """Submits what is posted, with a key or without.

    Args:
        submitter: Submits.
        store: Where keys are.
        lock_seconds: How long one request may have a key to itself; longer than any submit takes.
        keep_seconds: How long a key is remembered.
    """

    def __init__(self, submitter: Submitter, store: KeyStore, *, lock_seconds: float, keep_seconds: float) -> None:
        self._submitter = submitter
        self._store = store
        self._lock_ms = int(lock_seconds * 1000)
        self._keep_ms = int(keep_seconds * 1000)
        self._sweeping = threading.Lock()
        self._swept = time.monotonic()

    def submit(
        self,
        post: Post,
        requests: Sequence[JobRequest | Refusal],
        render: Callable[[Sequence[Result]], Document],
    ) -> Reply:
        """Submit jobs; those sent under a key only once, however often they are sent.

        Args:
            post: The request.
            requests: Its jobs; those refused already keep their place.
            render: Makes the document that tells what became of them, or raises what to answer instead.

        Raises:
            Refusal: The key is at work, was used for something else, or cannot be looked up.
        """
        if post.key is None:
            identity = Identity(tenant=post.tenant)
            document = render(self._submitter.submit_many(requests, [identity] * len(requests)))
            return Reply(status=202, document=document, replayed=False)
        claim = self._claim(post, post.key, len(requests))
        if isinstance(claim, Answered):
            return Reply(status=claim.status, document=json.loads(claim.body), replayed=True)
        results = self._submit(claim, post.tenant, requests)
        next_ = then(results, fresh=claim.fresh)
        if next_ is not Then.ANSWER:
            self._let_go(claim, next_)
            return Reply(status=202, document=render(results), replayed=False)
        document = render(results)
        self._settle(lambda: self._store.answer(claim, 202, json.dumps(document)))
        self._sweep()
        return Reply(status=202, document=document, replayed=not any(isinstance(one, Accepted) for one in results))

    def _claim(self, post: Post, key: str, jobs: int) -> Claim | Answered:
        now_ms = time.time_ns() // 1_000_000
        use = Use(
            name=KeyName(tenant=post.tenant or "", endpoint=post.endpoint, key=key),
            fingerprint=post.fingerprint,
            now_ms=now_ms,
            locked_ms=now_ms + self._lock_ms,
            expires_ms=now_ms + self._keep_ms,
        )
        try:
            claim = self._store.claim(use, lambda generation: [post.job_id(job, generation) for job in range(jobs)])
        except StoreDown as error:
            raise Refusal(
                "store-unavailable", f"a request with {HEADER} needs the store, and nothing was submitted: {error}"
            ) from error
        metrics.counter("warren_idempotency_keys_total").labels(result=type(claim).__name__.lower()).inc()
        match claim:
            case Busy():
                raise Refusal("idempotency-key-busy", f"a request with the {HEADER} {key!r} is under way")
            case Reused():
                raise Refusal(
                    "idempotency-key-reused", f"the {HEADER} {key!r} came with another body before; use a new key"
                )
        return claim

    def _submit(self, claim: Claim, tenant: str | None, requests: Sequence[JobRequest | Refusal]) -> list[Result]:
        missing = [place for place, job in enumerate(claim.ids) if job not in claim.known]
        submitted = self._submitter.submit_many(
            [requests[place] for place in missing],
            [Identity(id=claim.ids[place], enqueued_ms=claim.created_ms, tenant=tenant) for place in missing],
        )
        done = dict(zip(missing, submitted, strict=True))
        return [done[place] if place in done else Known(claim.known[job]) for place, job in enumerate(claim.ids)]

    def _let_go(self, claim: Claim, how: Then) -> None:
        if how is Then.RELEASE:
            self._settle(lambda: self._store.release(claim))
        elif how is Then.UNLOCK:
            self._settle(lambda: self._store.unlock(claim))

    def _settle(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StoreError as error:
            # What was submitted stands. The lock ends by itself, and the jobs' ids and rows say what was done.
            logger.warning("cannot settle an idempotency key: %s", error, extra={"event": "key_not_settled"})

    def _sweep(self) -> None:
        """Forget old keys now and then; one thread of a process at a time."""
        if time.monotonic() - self._swept < _SWEEP_SECONDS or not self._sweeping.acquire(blocking=False):
            return
        try:
            self._swept = time.monotonic()
            gone = self._store.expire(time.time_ns() // 1_000_000, _SWEEP_ROWS)
            if gone == _SWEEP_ROWS:
                self._swept -= _SWEEP_SECONDS
        except StoreError as error:
            logger.warning("cannot forget old idempotency keys: %s", error, extra={"event": "sweep_failed"})
        finally:
            self._sweeping.release()
