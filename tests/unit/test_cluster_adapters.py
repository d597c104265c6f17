"""How a cluster is asked: by kubectl, and with a pod's account; and the whole command on a fake kubectl."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

import cluster_kit as kit
from warren.cli import main
from warren.cli.cluster import connect, examine, kubectl
from warren.cli.cluster.connect import connect as connected
from warren.cli.cluster.in_pod import InPod, account_client
from warren.cli.cluster.port import BROKERS, DEPLOYMENTS, NAMESPACES, PODS, SCALED_OBJECTS, SECRETS, USERS, Kind, Object
from warren.errors import KindMissing, KubernetesError, KubernetesForbidden

FAKE = """\
#!{python}
import json, os, sys, time
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if "config" in words:
    print({namespace!r}, end="")
    sys.exit({config_code})
if "port-forward" in words:
    if {forward!r}:
        print({forward!r}, flush=True)
        time.sleep(60)
    sys.exit("error: unable to forward port because pod is not running. Current status=Pending")
kind = words[words.index("get") + 1]
answer = json.load(open({answers!r})).get(kind)
if "--all-namespaces" in words:
    answer = [one for one in answer or [] if one["metadata"]["namespace"] != {own!r}]
elif isinstance(answer, list):
    answer = [one for one in answer if one["metadata"]["namespace"] == {own!r}]
if isinstance(answer, str):
    sys.exit(answer)
if "--ignore-not-found" in words:
    names = words[words.index("--ignore-not-found") + 1:]
    answer = [one for one in answer or [] if one["metadata"]["name"] in names]
    if not answer:
        sys.exit(0)
    if len(names) == 1:
        print(json.dumps(answer[0]))
        sys.exit(0)
print(json.dumps({{"kind": "List", "items": answer or []}}))
"""
FORBIDDEN = 'Error from server (Forbidden): pods is forbidden: User "me" cannot list resource "pods"'
UNKNOWN = 'error: the server doesn\'t have a resource type "scaledobjects" in group "keda.sh"'


class FakeKubectl:
    """A program on PATH that answers from a file and writes down what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "kubectl"
        self.write()

    def write(self, *, forward: str = "", config_code: str = "0", namespace: str = kit.NAMESPACE) -> None:
        self.program.write_text(
            FAKE.format(
                python=sys.executable, log=str(self.folder / "log"), answers=str(self.folder / "answers"),
                own=kit.NAMESPACE, forward=forward, config_code=config_code, namespace=namespace,
            )
        )  # fmt: skip
        self.program.chmod(0o755)

    def answer(self, objects: dict[Kind, Any]) -> None:
        named = {kind.name: given for kind, given in objects.items()}
        (self.folder / "answers").write_text(json.dumps(named))

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return FakeKubectl(tmp_path)


def doctor(*words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--kubernetes", *words])


def without_broker() -> dict[Kind, Any]:
    """Return a healthy installation whose broker's login is not to be read."""
    objects: dict[Kind, Any] = kit.healthy()
    objects[SECRETS] = objects[SECRETS][:1]
    return objects


def test_a_healthy_installation_passes_and_what_was_not_seen_is_said(fake: FakeKubectl) -> None:
    fake.answer(without_broker())

    result = doctor("--json")

    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {one["level"] for one in found} == {"ok", "unknown"}
    (unseen,) = [one for one in found if one["level"] == "unknown"]
    assert "kubectl exec deploy/warren-server -- warren doctor" in unseen["fix"]


def test_something_broken_ends_with_exit_status_1_and_its_fix_in_text(fake: FakeKubectl) -> None:
    fake.answer({**without_broker(), DEPLOYMENTS: [kit.deployment(pod={"terminationGracePeriodSeconds": 30})]})

    result = doctor()

    assert result.exit_code == 1
    assert "broken  grace period: Deployment warren-worker: 30 s is less than" in result.stdout
    assert "        fix: raise terminationGracePeriodSeconds to 40" in result.stdout


def test_namespace_context_and_release_reach_kubectl(fake: FakeKubectl) -> None:
    fake.answer(without_broker())

    doctor("--namespace", "there", "--context", "far", "--release", "mine")

    gets = [words for words in fake.asked if "get" in words]
    assert not [words for words in fake.asked if "config" in words]
    assert all(words[:2] == ["--context", "far"] for words in gets)
    assert ["--namespace", "there", "--selector"] in [
        words[words.index("--namespace") : words.index("--namespace") + 3] for words in gets if "--namespace" in words
    ]
    assert "app.kubernetes.io/part-of=warren,app.kubernetes.io/instance=mine" in [words[-1] for words in gets]


def test_the_namespace_of_the_context_is_taken_when_none_is_named(fake: FakeKubectl) -> None:
    fake.answer({})

    with connected(namespace=None, context=None) as cluster:
        assert cluster.namespace == kit.NAMESPACE
    fake.write(namespace="")
    with connected(namespace=None, context=None) as cluster:
        assert cluster.namespace == "default"


def test_refusals_and_unknown_kinds_of_kubectl_are_told_apart(fake: FakeKubectl) -> None:
    fake.answer({**without_broker(), PODS: FORBIDDEN, SCALED_OBJECTS: UNKNOWN, USERS: UNKNOWN})

    with connected(namespace=kit.NAMESPACE, context=None) as cluster:
        with pytest.raises(KubernetesForbidden, match="cannot list"):
            cluster.every(PODS)
        with pytest.raises(KindMissing, match="scaledobjects"):
            cluster.every(SCALED_OBJECTS)
    found = json.loads(doctor("--json").stdout)

    unseen = [one["message"] for one in found if one["level"] == "unknown" and one["check"] == "kubernetes"]
    assert unseen == ["may not look at pods"]


def test_objects_are_found_by_name_one_some_or_none(fake: FakeKubectl) -> None:
    fake.answer({SECRETS: [kit.secret("a"), kit.secret("b")], NAMESPACES: [kit.namespace()]})

    with connected(namespace=kit.NAMESPACE, context=None) as cluster:
        found = [len(cluster.named(SECRETS, names)) for names in (["a"], ["a", "b"], ["c"], [])]
        (space,) = cluster.named(NAMESPACES, [kit.NAMESPACE])

    assert found == [1, 2, 0, 0]
    assert space["metadata"]["name"] == kit.NAMESPACE


@pytest.mark.parametrize("words", [("--context", "nope"), ()])
def test_a_cluster_that_does_not_answer_is_one_finding(fake: FakeKubectl, words: tuple[str, ...]) -> None:
    fake.write(config_code='"error: cannot locate context nope"')

    result = doctor(*words, "--json")

    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)
    assert (found["check"], found["level"]) == ("kubernetes", "broken")
    assert found["message"] == "error: cannot locate context nope"


def test_a_kubectl_that_says_nothing_or_cannot_run_is_told_of(fake: FakeKubectl) -> None:
    fake.program.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    silent = doctor("--namespace", "x")
    fake.program.write_text("#!/no/such/interpreter\n")
    unfit = doctor("--namespace", "x")

    assert "kubectl failed and said nothing" in silent.stdout
    assert "No such file" in unfit.stdout
    assert (silent.exit_code, unfit.exit_code) == (1, 1)


def test_without_kubectl_one_is_told_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    outside = doctor()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    inside = doctor()

    assert "kubectl is not on PATH: install it" in outside.stdout
    assert "this pod has no service account token, and kubectl" in inside.stdout


def test_options_of_the_cluster_need_the_flag() -> None:
    result = CliRunner().invoke(main, ["doctor", "--namespace", "x"])

    assert result.exit_code == 2
    assert "--kubernetes" in result.stderr


def test_the_broker_is_reached_through_a_forwarded_port(fake: FakeKubectl) -> None:
    fake.write(forward="Forwarding from 127.0.0.1:1 -> 15672")
    fake.answer(kit.healthy())

    found = json.loads(doctor("--json").stdout)

    (words,) = [words for words in fake.asked if "port-forward" in words]
    assert words[-4:] == ["service/warren-rabbitmq", ":15672", "--address", "127.0.0.1"]
    # Nobody listens there, which the broker's client says, not kubectl's.
    (broken,) = [one for one in found if one["level"] == "broken"]
    assert "http://127.0.0.1:1 does not answer" in broken["message"]


def test_a_port_that_cannot_be_forwarded_is_said(fake: FakeKubectl) -> None:
    fake.answer(kit.healthy())

    found = json.loads(doctor("--json").stdout)

    (unseen,) = [one for one in found if one["level"] == "unknown"]
    assert unseen["check"] == "broker"
    assert "Current status=Pending" in unseen["message"]


def test_a_forward_that_never_says_ready_is_given_up(fake: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "_FORWARD_SECONDS", 0.3)
    fake.program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")

    with (
        connected(namespace="x", context=None) as cluster,
        pytest.raises(KubernetesError, match=r"not ready in 0\.3 s"),
        cluster.reach("broker", 1),
    ):
        pass


class Api:
    """Answers as the API server does."""

    def __init__(self, objects: dict[str, Any]) -> None:
        self.objects = objects
        self.requests: list[httpx.Request] = []

    def cluster(self) -> InPod:
        client = httpx.Client(transport=httpx.MockTransport(self._answer), base_url="https://10.0.0.1")
        return InPod(client, namespace=kit.NAMESPACE)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        found = self.objects.get(request.url.path, httpx.Response(404))
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)


def test_a_pod_asks_the_api_by_the_paths_of_the_kinds() -> None:
    api = Api(
        {
            "/apis/apps/v1/namespaces/jobs/deployments": {"items": [kit.deployment()]},
            "/apis/apps/v1/deployments": {"items": []},
            "/api/v1/namespaces/jobs/secrets/a": kit.secret("a"),
            "/api/v1/namespaces/jobs": kit.namespace(),
        }
    )
    cluster = api.cluster()

    assert len(cluster.every(DEPLOYMENTS, selector="a=b")) == 1
    assert cluster.every(DEPLOYMENTS, everywhere=True) == []
    assert len(cluster.named(SECRETS, ["a", "absent"])) == 1
    assert len(cluster.named(NAMESPACES, [kit.NAMESPACE])) == 1
    assert api.requests[0].url.params["labelSelector"] == "a=b"
    with cluster.reach("warren-rabbitmq", 15672) as address:
        assert address == "warren-rabbitmq.jobs.svc:15672"


def test_what_a_pod_may_not_ask_names_the_rule_that_is_missing() -> None:
    api = Api({"/api/v1/namespaces/jobs/pods": httpx.Response(403, json={"reason": "Forbidden"})})

    with pytest.raises(KubernetesForbidden, match=r'apiGroups: \[""\], resources: \[pods\], verbs: \[get, list\]'):
        api.cluster().every(PODS)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(404), KindMissing, "does not know pods"),
        (httpx.Response(500, text="etcd is away"), KubernetesError, "500 to GET .*etcd is away"),
        (httpx.ConnectError("refused"), KubernetesError, "does not answer"),
    ],
)
def test_other_answers_of_the_api_are_told_apart(answer: Any, error: type[Exception], said: str) -> None:
    api = Api({"/api/v1/namespaces/jobs/pods": answer})

    with pytest.raises(error, match=said):
        api.cluster().every(PODS)


def test_an_account_whose_files_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(KubernetesError, match="No such file"):
        account_client(tmp_path, "10.0.0.1", "443")
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(KubernetesError, match="cannot be read"):
        account_client(tmp_path, "::1", "443")


def asked(cluster: kit.FakeCluster) -> list[Any]:
    snapshot = examine.read(cluster, None)
    return list(examine._broker(cluster, snapshot))


def with_host(host: str, *brokers: Object) -> dict[Kind, Any]:
    env = kit.environment(WARREN_AMQP_HOST=host, WARREN_AMQP_USERNAME="me", WARREN_WORKER_QUEUES="a=5, b,No!")
    return {**kit.healthy(), DEPLOYMENTS: [kit.deployment(container={"env": env})], BROKERS: list(brokers)}


def test_a_broker_outside_is_not_asked_but_said() -> None:
    (outside,) = asked(kit.FakeCluster(with_host("mq.example.org", kit.broker())))
    (nowhere,) = asked(kit.FakeCluster(with_host("warren-rabbitmq")))

    assert outside.level == nowhere.level == "unknown"
    assert "kubectl exec deploy/warren-server" in outside.fix


@pytest.mark.parametrize(
    "host", ["warren-rabbitmq", "warren-rabbitmq.jobs", "warren-rabbitmq.jobs.svc", "warren-rabbitmq.jobs.svc.a.b"]
)
def test_the_broker_of_the_workloads_is_found_by_their_host(host: str) -> None:
    cluster = kit.FakeCluster(with_host(host, kit.broker()))

    asked(cluster)

    assert cluster.reached == [("warren-rabbitmq", 15672)]


def test_the_only_broker_is_asked_when_no_workload_names_one() -> None:
    cluster = kit.FakeCluster({**kit.healthy(), DEPLOYMENTS: []})

    asked(cluster)

    assert cluster.reached == [("warren-rabbitmq", 15672)]


def test_a_watching_login_serves_when_the_default_one_is_away() -> None:
    objects = with_host("warren-rabbitmq", kit.broker())
    objects[SECRETS] = [kit.secret("warren-monitor-user-credentials", username="monitor", password="x")]
    cluster = kit.FakeCluster(objects)

    asked(cluster)

    assert cluster.reached


def test_secrets_that_may_not_be_read_leave_the_broker_unasked() -> None:
    (found,) = asked(kit.FakeCluster(kit.healthy(), {SECRETS: KubernetesForbidden("no")}))

    assert (found.check, found.level) == ("broker", "unknown")


def test_a_broker_that_speaks_tls_only_is_not_asked_through_the_cluster() -> None:
    objects = {**kit.healthy(), BROKERS: [kit.broker(tls={"disableNonTLSListeners": True})]}

    (found,) = asked(kit.FakeCluster(objects))

    assert "TLS only" in found.message


def test_queues_and_logins_of_the_workloads_are_expected_on_the_broker() -> None:
    expected = examine._expected(kit.snapshot(with_host("warren-rabbitmq", kit.broker())))
    settings = examine._settings("127.0.0.1:99", "a/b", ("me", "p@ss"))

    assert (expected.worked_on, expected.logins) == (["a", "b"], ["me"])
    assert settings.url is not None
    assert settings.url.get_secret_value() == "amqp://me:p%40ss@127.0.0.1/a%2Fb"


def test_a_pods_account_is_used_where_one_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    for name, content in (("token", "t"), ("namespace", "own\n"), ("ca.crt", Path(certifi.where()).read_text())):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(connect, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")

    with connected(namespace=None, context=None) as cluster:
        assert isinstance(cluster, InPod)
        assert cluster.namespace == "own"
        with pytest.raises(KubernetesError, match="does not answer"):
            cluster.every(PODS)
