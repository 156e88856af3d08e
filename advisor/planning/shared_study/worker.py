"""Who is at work on a trial: told apart from a process that is gone, on the same machine at once."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from pathlib import Path


def this_worker() -> str:
    """This process, as `PLACE:PID:START`; the place is a hash, so that no machine's name is recorded."""
    return f"{_place()}:{os.getpid()}:{_start(os.getpid())}"


def is_gone(worker: object) -> bool:
    """Whether it was on this machine and is no more; False where that cannot be known."""
    parts = worker.split(":") if isinstance(worker, str) else []
    if len(parts) != 3 or parts[0] != _place() or not parts[1].isdecimal() or len(parts[1]) > 9:
        return False
    pid = int(parts[1])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is another user's
    return _start(pid) != parts[2]


def _place() -> str:
    """This machine, and within it the space in which process numbers are counted."""
    space = Path("/proc/self/ns/pid")
    told = (platform.node(), uuid.getnode(), os.readlink(space) if space.exists() else "")
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _start(pid: int) -> str:
    """When a process began, in ticks since the machine did; "" where the system does not tell. Dead ones have none."""
    try:
        after = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if after[0] in "ZX" else after[19]
