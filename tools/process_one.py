"""In the images, imported when Python starts: process 1 ends by SIGTERM, like any other, until a program takes it over.

The kernel drops a signal that process 1 has no handler for (pid_namespaces(7)). Without this, a container told to stop
while its program is still being imported, or that runs a command without a handler, would hear nothing, go on, and be
killed when its grace is over, with whatever it took on meanwhile.
"""

from __future__ import annotations

import os
import signal

if os.getpid() == 1:
    signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))
