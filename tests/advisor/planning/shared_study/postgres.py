"""A PostgreSQL of the tests' own, in a temporary folder; it is skipped, with a reason, where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("initdb", "pg_ctl", "postgres")
OTHER = "nobody"
"""The user that runs it where the tests run as root, which it refuses."""


def programs() -> dict[str, str]:
    """Where its programs are: on the path, or where Debian puts them."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    return {name: found for name in NEEDED if (found := shutil.which(name, path=path)) is not None}


def as_another_user() -> dict[str, Any]:
    """Keywords of a process so that it does not run as root."""
    if os.getuid() != 0:
        return {}
    import pwd  # not on Windows

    return {"user": OTHER, "group": pwd.getpwnam(OTHER).pw_gid, "extra_groups": []}


class Server:
    """A running server."""

    def __init__(self, folder: Path, found: dict[str, str]) -> None:
        self._folder, self._found = folder, found
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """Of its database, with a password, which nothing may show."""
        return f"postgresql://tester:hidden-word@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-w", "-l", str(self._folder / "log"), "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, name: str, *words: str) -> None:
        subprocess.run(
            [self._found[name], *words], check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/",
            **as_another_user(),
        )  # fmt: skip


@contextmanager
def running() -> Iterator[Server]:
    """A server, stopped and removed afterwards."""
    found = programs()
    if len(found) < len(NEEDED):
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a short path: a socket is in it
    try:
        folder.chmod(0o777)
        (folder / "word").write_text("hidden-word")
        server = Server(folder, found)
        server._run(
            "initdb", "-D", str(folder / "data"), "-U", "tester", "-A", "scram-sha-256",
            "--pwfile", str(folder / "word"), "--no-sync",
        )  # fmt: skip
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
