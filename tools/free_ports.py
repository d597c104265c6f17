"""Print a free port whose management port, 10000 above, is free too."""

from __future__ import annotations

from warren.local.ports import MANAGEMENT_OFFSET, free_port

if __name__ == "__main__":
    print(free_port(also_offset=MANAGEMENT_OFFSET))
