"""Choose how a cluster is asked: as the pod this runs in, or by kubectl."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from warren.cli.cluster.in_pod import ACCOUNT, InPod, account_client
from warren.cli.cluster.kubectl import Kubectl, current_namespace
from warren.cli.cluster.port import Cluster
from warren.errors import KubernetesError


@contextmanager
def connect(*, namespace: str | None, context: str | None) -> Iterator[Cluster]:
    """Open a cluster; a context always means kubectl.

    Args:
        namespace: Namespace to look at; None for the context's or the pod's own.
        context: Context of the kubeconfig; None for the current one, or none in a pod.

    Raises:
        KubernetesError: There is neither an account nor kubectl, or the kubeconfig names no such context.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if host and context is None and (ACCOUNT / "token").exists():
        own = (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        with account_client(ACCOUNT, host, port) as client:
            yield InPod(client, namespace=namespace or own)
        return
    program = shutil.which("kubectl")
    if program is None:
        where = "this pod has no service account token, and " if host else ""
        raise KubernetesError(
            f"{where}kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools/) and point KUBECONFIG "
            "at the cluster"
        )
    yield Kubectl(program, context=context, namespace=namespace or current_namespace(program, context))
