"""The server's metrics are there for whoever has the token, and parse."""

import os
import sys

import httpx
from prometheus_client.parser import text_string_to_metric_families

token = os.environ.get("READ_TOKEN") or os.environ.get("WARREN_TOKEN")
headers = {"Authorization": f"Bearer {token}"} if token else {}
answer = httpx.get(f"{os.environ['WARREN_URL']}/metrics", headers=headers, timeout=10, trust_env=False)
answer.raise_for_status()
names = {family.name for family in text_string_to_metric_families(answer.text)}
wanted = {"warren_broker_connected", "warren_http_requests", "warren_http_request_seconds"}
print(f"{len(names)} metrics; missing: {sorted(wanted - names) or 'none'}")
sys.exit(bool(wanted - names))
