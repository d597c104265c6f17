"""The broker's management HTTP API: policies, which AMQP cannot set, and depths with what is unacknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from warren.amqp.parameters import MANAGEMENT_PORT_OFFSET, Endpoint, endpoint, management_login, tls_context
from warren.errors import SettingsError, TopologyError, Unavailable
from warren.settings import BrokerSettings
from warren.topology import Policy

_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """How much is in a queue.

    Attributes:
        ready: Messages waiting for a consumer.
        unacked: Messages handed out and not settled.
        consumers: Consumers attached.
        counted: The broker has counted already; if not, the numbers are 0 and mean nothing.
    """

    ready: int
    unacked: int
    consumers: int
    counted: bool = True


class Management:
    """A client of the management API; a context manager. Each request has its own connection and reads the login anew.

    Args:
        settings: The broker's settings; the API is at `management_url`, else at the broker's host with the AMQP port
            plus 10000. Files are read when they are needed: one that is missing spoils a request, never the start.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        where = _address(settings)
        self._vhost = quote(where.vhost, safe="")
        self._url = _base(settings, where)

    def close(self) -> None:
        """Close the client."""
        if "_client" in vars(self):
            self._client.close()

    def __enter__(self) -> Management:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def apply_policies(self, policies: Iterable[Policy]) -> None:
        """Set policies; one that is already so is left alone.

        Raises:
            TopologyError: The user may not set policies, or the broker refuses one.
            Unavailable: The API does not answer.
        """
        for name, body in self._differing(policies).items():
            self._ask("PUT", f"/api/policies/{self._vhost}/{quote(name, safe='')}", body)

    def missing_policies(self, policies: Iterable[Policy]) -> list[str]:
        """Return the names of policies that are not there, or are there otherwise than wanted."""
        return list(self._differing(policies))

    def queue_depths(self) -> dict[str, Depths]:
        """Return the depths of all queues of the virtual host, by the broker's names.

        The broker counts every few seconds; `Transport.depth` is exact but cannot see what is unacknowledged.
        """
        columns = "name,messages_ready,messages_unacknowledged,consumers"
        found = self._ask("GET", f"/api/queues/{self._vhost}?columns={columns}")
        return {
            queue["name"]: Depths(
                ready=queue.get("messages_ready", 0),
                unacked=queue.get("messages_unacknowledged", 0),
                consumers=queue.get("consumers", 0),
                counted="messages_ready" in queue,
            )
            for queue in found
        }

    def behaviour(self) -> dict[str, dict[str, Any]]:
        """Return what is in effect on each queue, by the broker's names: its policies, beaten by its own arguments.

        The broker tells this a few seconds after a queue was made; until then the queue is left out.
        """
        columns = "name,arguments,effective_policy_definition"
        found = self._ask("GET", f"/api/queues/{self._vhost}?columns={columns}")
        # An empty definition may come as an empty list.
        return {
            queue["name"]: {
                **dict(queue["effective_policy_definition"] or {}),
                **{name.removeprefix("x-"): value for name, value in (queue.get("arguments") or {}).items()},
            }
            for queue in found
            if "effective_policy_definition" in queue
        }

    def version(self) -> str:
        """Return the broker's version, such as `4.3.5`."""
        return str(self._ask("GET", "/api/overview")["rabbitmq_version"])

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._url,
            timeout=_TIMEOUT_SECONDS,
            verify=tls_context(self._settings) if self._url.startswith("https") else False,
            # A socket kept for later would be one to close: requests are few and the broker is near.
            headers={"Connection": "close"},
            # A proxy meant for the internet must not see its password.
            trust_env=False,
        )

    def _differing(self, policies: Iterable[Policy]) -> dict[str, dict[str, Any]]:
        """Return what is to be put by name: policies that are not there as this version of the broker takes them."""
        existing, version = self._policies(), _read_version(self.version())
        wanted = {policy.name: _body(policy, version) for policy in policies if policy.definition_for(version)}
        return {name: body for name, body in wanted.items() if _comparable(existing.get(name, {})) != body}

    def _policies(self) -> dict[str, dict[str, Any]]:
        return {policy["name"]: policy for policy in self._ask("GET", f"/api/policies/{self._vhost}")}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body, auth=management_login(self._settings))
        except SettingsError as error:
            raise Unavailable(f"the management API at {self._url} cannot be asked: {error}") from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the management API at {self._url} does not answer ({type(error).__name__}); check that the plugin "
                "is enabled and WARREN_AMQP_MANAGEMENT_URL"
            ) from error
        if answer.is_error:
            raise TopologyError(
                f"the management API at {self._url} answered {answer.status_code} to {method} {path}: "
                f"{answer.text[:200]}; the user needs the tag policymaker or administrator"
            )
        return answer.json() if answer.content else None


def _address(settings: BrokerSettings) -> Endpoint:
    """Return where the broker is, without a look at who logs in."""
    return endpoint(settings.model_copy(update={"username_file": None, "password_file": None}))


def _base(settings: BrokerSettings, where: Endpoint) -> str:
    """Return the API's URL without credentials."""
    if settings.management_url is None:
        host = f"[{where.host}]" if ":" in where.host else where.host
        scheme = "https" if where.tls else "http"
        return f"{scheme}://{host}:{where.port + MANAGEMENT_PORT_OFFSET}"
    parts = urlsplit(settings.management_url.get_secret_value())
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl().rstrip("/")


def _read_version(text: str) -> tuple[int, int]:
    """Read the first two numbers of a version; one that is told otherwise counts as the newest."""
    parts = text.split(".")
    return (
        (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdecimal() and parts[1].isdecimal() else (99, 0)
    )


def _body(policy: Policy, version: tuple[int, int]) -> dict[str, Any]:
    return {
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition_for(version),
        "priority": policy.priority,
    }


def _comparable(existing: dict[str, Any]) -> dict[str, Any]:
    return {name: existing.get(name) for name in ("pattern", "apply-to", "definition", "priority")}
