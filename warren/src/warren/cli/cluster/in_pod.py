"""Ask the cluster a pod runs in, with the pod's service account."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from warren.cli.cluster.port import Kind, Object, rules
from warren.errors import KindMissing, KubernetesError, KubernetesForbidden

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token, authority and namespace
(https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/)."""
_SECONDS: Final = 20.0


class InPod:
    """The API server, asked as a service account.

    Args:
        client: Knows the server's address, its authority and the token.
        namespace: Namespace that is looked at.
    """

    def __init__(self, client: httpx.Client, *, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        return self._namespace

    def every(self, kind: Kind, *, selector: str = "", everywhere: bool = False) -> list[Object]:
        path = self._path(kind, everywhere=everywhere)
        document = self._get(kind, path, {"labelSelector": selector} if selector else {})
        if document is None:
            raise KindMissing(f"the cluster does not know {kind.name}")
        return list(document["items"])

    def named(self, kind: Kind, names: Sequence[str]) -> list[Object]:
        found = [self._get(kind, f"{self._path(kind)}/{name}", {}) for name in names]
        return [one for one in found if one is not None]

    @contextmanager
    def reach(self, service: str, port: int) -> Iterator[str]:
        yield f"{service}.{self._namespace}.svc:{port}"

    def _path(self, kind: Kind, *, everywhere: bool = False) -> str:
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        where = f"/namespaces/{self._namespace}" if kind.namespaced and not everywhere else ""
        return f"{root}{where}/{kind.plural}"

    def _get(self, kind: Kind, path: str, query: dict[str, str]) -> Any:
        """Return what is there, or None when nothing is."""
        try:
            answer = self._client.get(path, params=query)
        except httpx.HTTPError as error:
            raise KubernetesError(f"the API server at {self._client.base_url} does not answer: {error!r}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code == httpx.codes.FORBIDDEN:
            raise KubernetesForbidden(f"the pod's service account may not ask for {kind.name}: {rules([kind])}")
        if answer.is_error:
            raise KubernetesError(f"the API server answered {answer.status_code} to GET {path}: {answer.text[:200]}")
        return answer.json()


def account_client(folder: Path, host: str, port: str) -> httpx.Client:
    """Make a client from what the kubelet mounted.

    Raises:
        KubernetesError: A file is missing or cannot be read.
    """
    try:
        token = (folder / "token").read_text(encoding="utf-8").strip()
        authority = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except OSError as error:
        raise KubernetesError(f"the service account in {folder} cannot be read: {error}") from error
    return httpx.Client(
        base_url=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        headers={"Authorization": f"Bearer {token}", "Connection": "close"},
        verify=authority,
        timeout=_SECONDS,
        # A proxy meant for the internet must not see the token.
        trust_env=False,
    )
