"""A PostgreSQL of the tests' own, in a temporary folder; it is skipped, with a reason, where there is none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NEEDED = ("initdb", "pg_ctl", "postgres")
OTHERS = ("postgres", "nobody")
"""Users that may run it where the tests run as root, which it refuses."""


def programs() -> dict[str, str]:
    """Where its programs are: on the path, or where Debian puts them."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    return {name: found for name in NEEDED if (found := shutil.which(name, path=path)) is not None}


def as_another_user() -> list[str]:
    """What to put before a command so that it does not run as root."""
    if os.getuid() != 0:
        return []
    import pwd

    for name in OTHERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip("PostgreSQL refuses to run as root, and there is no other user to run it as")


class Server:
    """A running server."""

    def __init__(self, folder: Path, before: list[str], found: dict[str, str]) -> None:
        self._folder, self._before, self._found = folder, before, found
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
            [*self._before, self._found[name], *words], check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/"
        )


@contextmanager
def running() -> Iterator[Server]:
    """A server, stopped and removed afterwards."""
    found = programs()
    if len(found) < len(NEEDED):
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the driver is not installed: pip install 'partition-advisor[postgresql]'")
    before = as_another_user()
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a short path: a socket is in it
    try:
        folder.chmod(0o777)
        (folder / "word").write_text("hidden-word")
        server = Server(folder, before, found)
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
