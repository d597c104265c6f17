"""Dead letters for tests of what is done about them."""

from __future__ import annotations

import json
from typing import Any

from server_kit import Kit
from waiting import eventually
from warren.envelope import Envelope, encode, new_job_id
from warren.events import ErrorInfo
from warren.transport import dead_publication
from warren_server.dead import dead_row
from warren_worker.dead import Death, dead_letter


def letter(
    job: str | None = None,
    *,
    queue: str = "default",
    task: str = "greet",
    body: bytes = b'{"cmd":"hey"}',
    error: str = "ValueError",
    reason: str = "failed 5 of 5 attempts",
    attempt: int = 5,
    dead_ms: int = 5000,
    worker: str = "w1",
    image: str = "app:1",
    **fields: Any,
) -> Any:
    """Make the message of a dead letter as a worker does."""
    envelope = Envelope(
        id=job or new_job_id(), task=task, queue=queue, body=body, attempt=attempt, enqueued_ms=1000, **fields
    )
    death = Death(
        reason=reason,
        outcome="failed",
        error=ErrorInfo(type=error, message="no", traceback="Traceback…"),
        worker=worker,
        dead_ms=dead_ms,
        attempt=attempt,
        started_ms=4000,
        image=image,
    )
    return dead_letter(encode(envelope), death).message


def row(job: str | None = None, **fields: Any) -> dict[str, Any]:
    """Make the row of a dead letter."""
    return dead_row(letter(job, **fields))


def die(kit: Kit, job: str | None = None, **fields: Any) -> str:
    """Let a job end among the dead letters, and wait until the store knows."""
    message = letter(job, **fields)
    kit.transport.publish(dead_publication(message)).result(5)
    assert message.message_id is not None
    found = message.message_id
    eventually(lambda: kit.client.get(f"/v1/dead-letters/{found}").status_code == 200)
    eventually(lambda: (kit.client.get(f"/v1/jobs/{found}").json or {}).get("state") == "dead")
    return str(found)


def junk(kit: Kit) -> str:
    """Let a message that is no job end among the dead letters; return the letter's id."""
    from warren.envelope import Message

    kit.transport.publish(dead_publication(Message(body=b"\x80pickle"))).result(5)
    return str(eventually(lambda: [each["id"] for each in listed(kit) if each["job"] is None])[0])


def listed(kit: Kit, query: str = "") -> list[dict[str, Any]]:
    """List dead letters."""
    return list(kit.client.get(f"/v1/dead-letters{query}").json["dead_letters"])


def arguments(body: bytes) -> Any:
    """Read the arguments of a job."""
    return json.loads(body)
