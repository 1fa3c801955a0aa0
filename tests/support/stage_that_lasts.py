"""A stage that lasts, and a look whether its processes still run."""

from collections.abc import Sequence
from contextlib import suppress

import psutil

# Tells its id and that of a process of its own.
LASTING = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print('pids', os.getpid(), child.pid)
time.sleep(60)
"""


def running(pids: Sequence[int]) -> list[int]:
    """Those that go on: a killed process takes a moment, and nobody may collect what is left."""
    processes = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(pid))
    _, left = psutil.wait_procs(processes, timeout=5)
    return [process.pid for process in left if process.status() != psutil.STATUS_ZOMBIE]
