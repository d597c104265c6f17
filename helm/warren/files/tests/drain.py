"""A worker that is told to stop finishes its jobs and exits 0; nothing of them is lost or run again.

The worker is one of this pod's own, beside those of the release, so that the test needs no right on the cluster.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import urlopen

from warren.client import Client, JobRequest

PROBES = "http://127.0.0.1:9100"
JOBS = 24


def main() -> int:
    """Run the test and return its exit status."""
    worker = subprocess.Popen([sys.executable, "-m", "warren_worker"])
    try:
        until(lambda: gauge("warren_worker_slots") > 0 and ready(), "the worker is ready")
        with Client(os.environ["WARREN_URL"], os.environ.get("WARREN_TOKEN")) as client:
            answers = client.submit_many(
                JobRequest(task="helm_test.rest", arguments={"seconds": 3}) for _ in range(JOBS)
            )
            until(lambda: gauge("warren_jobs_running") > 0, "a job runs on this worker")
            worker.send_signal(signal.SIGTERM)
            status = worker.wait(60)
            jobs = [client.wait(answer, timeout_seconds=90) for answer in answers]
    finally:
        worker.kill()
    wrong = [
        f"{job.id} {job.state} after {job.attempt} attempts" for job in jobs if not job.succeeded or job.attempt != 1
    ]
    print(
        f"worker exited {status}; {len(jobs) - len(wrong)} of {len(jobs)} jobs succeeded at the first attempt {wrong}"
    )
    return int(status != 0 or bool(wrong))


def ready() -> bool:
    """Whether the worker takes jobs."""
    try:
        return bool(urlopen(f"{PROBES}/readyz", timeout=5).status == 200)
    except URLError:
        return False


def gauge(name: str) -> float:
    """Return a gauge of the worker; 0 while it does not answer."""
    try:
        lines = urlopen(f"{PROBES}/metrics", timeout=5).read().decode().splitlines()
    except URLError:
        return 0.0
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def until(met: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not met():
        if time.monotonic() > deadline:
            raise SystemExit(f"after 60 s it is not so that {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
