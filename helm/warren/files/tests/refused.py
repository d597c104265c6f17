"""A request without a token, with a wrong one, or with one that may only read, is refused."""

import os
import sys

import httpx

url = os.environ["WARREN_URL"]
job = {"task": "helm_test.echo", "arguments": {"text": "refused"}}
wanted = {"none": 401, "wrong": 401, "read": 403}
found = {}
for kind, token in {"none": None, "wrong": "wrn_" + "x" * 43, "read": os.environ.get("READ_TOKEN")}.items():
    if kind == "read" and not token:
        del wanted["read"]
        continue
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found[kind] = httpx.post(f"{url}/v1/jobs", json=job, headers=headers, timeout=10, trust_env=False).status_code
print(f"answers {found}, wanted {wanted}")
sys.exit(found != wanted)
