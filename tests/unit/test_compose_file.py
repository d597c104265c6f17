"""The Compose file and the files it mounts agree; no container engine is needed to see that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


SERVICES: dict[str, Any] = read("docker-compose.yaml")["services"]
PROBED = {"server": 8000, "worker": 9100}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(
        ":" if "$" not in SERVICES[name]["image"] else ":${WARREN_IMAGE_TAG:-"
    )

    assert re.match(r"v?\d", tag), f"{name} is {SERVICES[name]['image']}"


@pytest.mark.parametrize("name", ["rabbitmq", "postgres", "server", "worker"])
def test_every_service_of_the_stack_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", PROBED)
def test_the_programs_are_hardened(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][-1] == str(PROBED[name])


def test_the_files_that_are_mounted_exist() -> None:
    sources = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]

    assert len(sources) == 3
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_prometheus_scrapes_services_of_the_stack() -> None:
    jobs = read("compose/prometheus.yaml")["scrape_configs"]

    fixed = [target for job in jobs for static in job.get("static_configs", []) for target in static["targets"]]
    found = [f"{name}:{by['port']}" for job in jobs for by in job.get("dns_sd_configs", []) for name in by["names"]]
    assert sorted(fixed + found) == ["rabbitmq:15692", "server:8000", "worker:9100"]
    assert {target.split(":")[0] for target in fixed + found} <= set(SERVICES)


def test_prometheus_may_ask_the_server_by_its_service_name() -> None:
    trusted = SERVICES["server"]["environment"]["WARREN_SERVER_TRUSTED_HOSTS"].split(",")

    assert set(trusted) >= {"localhost", "127.0.0.1", "server"}


def test_prometheus_has_the_rules_of_the_guide() -> None:
    patterns = read("compose/prometheus.yaml")["rule_files"]
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["prometheus"]["volumes"])

    assert patterns == ["/etc/prometheus/rules/*.yaml"]
    assert mounted["./docs/how-to/alerts"] == "/etc/prometheus/rules"
    for file in (ROOT / "docs/how-to/alerts").glob("*.yaml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]


def test_grafana_finds_prometheus() -> None:
    (source,) = read("compose/grafana/datasources/prometheus.yaml")["datasources"]

    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"
