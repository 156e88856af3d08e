"""A real OpenSSH server on loopback, with keys made here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from advisor import profilers
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.profilers.boards import remote
from advisor.progress import of_shares
from tests.conftest import Run

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    not (SSHD and shutil.which("ssh") and shutil.which("ssh-keygen")),
    reason="needs an OpenSSH server: apt-get install openssh-server",
)


@dataclass
class Server:
    """An sshd of our own, its keys, and how to come in."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("sshd does not listen")

    def drop(self) -> None:
        """Kill the server and every connection it has."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        self.process.wait()
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    def url(self, config: str = "config", **options: str) -> str:
        options = {"config": str(self.folder / config), "python": sys.executable, "threads": "1", **options}
        return f"ssh://127.0.0.1:{self.port}?" + "&".join(f"{key}={value}" for key, value in options.items())


def key(folder: Path, name: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    return (folder / f"{name}.pub").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sshd")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host, other, ours, _ = (key(folder, name) for name in ("host", "other_host", "ours", "wrong"))
    (folder / "authorized").write_text(ours)
    for name, text in (("known", host), ("other_known", other)):
        (folder / name).write_text(f"[127.0.0.1]:{port} {' '.join(text.split()[:2])}\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n"
    )
    for name, known, mine in (
        ("config", "known", "ours"), ("wrong_host", "other_known", "ours"), ("wrong_key", "known", "wrong"),
        ("unknown_host", "authorized", "ours"),
    ):  # fmt: skip
        (folder / name).write_text(
            f"Host *\nUserKnownHostsFile {folder}/{known}\nGlobalKnownHostsFile none\n"
            f"IdentityFile {folder}/{mine}\nIdentitiesOnly yes\n"
        )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd separates its privileges there
    found = Server(folder, port)
    found.start()
    yield found
    found.drop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIME_LIMIT", 1.0)
    monkeypatch.setattr(remote, "POLL", 0.1)
    monkeypatch.setattr(remote, "RETRY", 0.1)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = set(Path("/tmp").glob("advisor-*"))
    yield
    end = time.monotonic() + 60  # on a busy machine the agent takes seconds to notice
    while (left := set(Path("/tmp").glob("advisor-*")) - before) and time.monotonic() < end:
        time.sleep(0.1)
    assert not {path for path in left if len(path.name) == len("advisor-") + 16}


def sent(place: Path) -> Path:
    """The folder on the "device", as soon as the agent runs in it."""
    for _ in range(2400):
        for path in place.glob("advisor-*/agent.pid"):
            if path.read_text():
                return path.parent
        time.sleep(0.05)
    raise RuntimeError("the agent was not started")


def meanwhile(action: Callable[[Path], None], place: Path = Path("/tmp")) -> threading.Thread:
    thread = threading.Thread(target=lambda: action(sent(place)))
    thread.start()
    return thread


def test_a_profile_is_measured_there(server: Server, graph: PartitionGraph) -> None:
    shares: list[float] = []
    found = profilers.profile(graph, device=server.url(), progress=of_shares(shares.append))
    assert found["edge_latency"].source == "measured"
    assert 0 < found["edge_latency"].values[-1] < 1
    assert found.provenance["measured"]["device"]["runtime"] == "pytorch-eager"
    assert found.provenance["measured"]["device"]["threads"] == 1
    assert f"on ssh://127.0.0.1:{server.port}" in found["edge_latency"].method
    assert shares[-1] == 1.0


def test_a_folder_of_the_users_choice(server: Server, graph: PartitionGraph, tmp_path: Path) -> None:
    place, seen = tmp_path / "a 'large' disk", set[str]()
    place.mkdir()
    found = remote.halves(
        graph, server.url(folder=str(place)), lambda _: seen.update(path.name for path in place.iterdir())
    )
    assert found.whole.value > 0
    assert [name.startswith("advisor-") for name in seen] == [True]
    assert list(place.iterdir()) == []


def test_a_folder_that_is_not_there(server: Server, graph: PartitionGraph) -> None:
    with pytest.raises(AdvisorError, match=r"cannot make a folder: .*No such file.*\?folder=/path"):
        remote.halves(graph, server.url(folder="/nowhere"))


def test_compiled_there(server: Server, graph: PartitionGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo alone: the C++ that Inductor writes takes a minute to compile."""
    monkeypatch.setattr(remote, "POLL", 1.0)  # this Python takes seconds to start
    (tmp_path / "eager.py").write_text(
        "import functools, runpy, sys, torch\n"
        "torch.compile = functools.partial(torch.compile, backend='eager')\n"
        "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/eager.py "$@"\n')
    python.chmod(0o755)
    found = remote.halves(graph, server.url(python=str(python), runtime="torch-compile"))
    assert found.facts["runtime"] == "torch-compile"
    assert "measured in torch.compile" in found.notes[0]
    assert all(half.value > 0 for half in (*found.edge[1:], *found.cloud[:-1]))


BAD_ENDS = {
    "unreachable": r"cannot be reached.*Connection refused",
    "wrong key": r"does not accept our key.*ssh-copy-id",
    "wrong host key": r"host key of ssh://.* is not the one that is known.*ssh-keyscan",
    "killed": r"was killed after \d+ rounds",
    "out of memory": r"ran out of memory|for want of memory\. Its last words: .*(MemoryError|memory)",
    "no folder": r"cannot make a folder",
}


@pytest.mark.parametrize("end", BAD_ENDS)
def test_a_bad_end_is_one_line_an_exit_code_and_nothing_left(
    end: str, server: Server, cli: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line; neither here nor there is a file more than before."""
    scratch, there = tmp_path / "scratch", tmp_path / "there"
    scratch.mkdir(), there.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(remote, "TIME_LIMIT", 60.0)
    url = server.url({"wrong key": "wrong_key", "wrong host key": "wrong_host"}.get(end, "config"), folder=str(there))
    killer = None
    if end == "unreachable":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = url.replace(str(server.port), str(free.getsockname()[1]), 1)
    if end == "out of memory":
        monkeypatch.setattr(remote, "POLL", 1.0)  # this Python takes seconds to start
        url = url.replace(sys.executable, str(little_memory(tmp_path)))
    if end == "no folder":
        url = url.replace(str(there), str(there / "none"))
    if end == "killed":
        killer = meanwhile(lambda folder: os.kill(int((folder / "agent.pid").read_text()), signal.SIGKILL), there)
    result = cli("profile", tiny_model, "--device", url, "--out", "out")
    if killer:
        killer.join()
    assert result.exit_code == 2, result.output
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    assert re.search(BAD_ENDS[end], line)
    assert "Traceback" not in result.output
    assert list(scratch.iterdir()) == list(there.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_a_host_key_that_is_not_the_known_one(server: Server, graph: PartitionGraph) -> None:
    for config in ("wrong_host", "unknown_host"):
        with pytest.raises(AdvisorError, match=r"host key of ssh://.* is not the one that is known.*ssh-keyscan"):
            remote.halves(graph, server.url(config))


def test_a_key_that_is_not_accepted(server: Server, graph: PartitionGraph) -> None:
    with pytest.raises(AdvisorError, match=r"does not accept our key.*ssh-copy-id"):
        remote.halves(graph, server.url("wrong_key"))


def test_a_host_that_is_not_there(server: Server, graph: PartitionGraph) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = server.url().replace(str(server.port), str(free.getsockname()[1]), 1)
    with pytest.raises(AdvisorError, match=r"cannot be reached.*Connection refused"):
        remote.halves(graph, url)


def test_no_python_there(server: Server, graph: PartitionGraph) -> None:
    with pytest.raises(AdvisorError, match=r"/nowhere/python does not run the agent.*Python 3.8"):
        remote.halves(graph, server.url(python="/nowhere/python"))


def test_no_runtime_there(server: Server, graph: PartitionGraph, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(AdvisorError, match=r"neither PyTorch nor ONNX Runtime can be used.*No module named 'torch'"):
        remote.halves(graph, server.url(python=str(bare)))
    with pytest.raises(AdvisorError, match=r"no runtime 'abacus'"):
        remote.halves(graph, server.url(runtime="abacus"))


def test_an_agent_that_is_killed_half_way(
    server: Server, graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TIME_LIMIT", 60.0)
    killer = meanwhile(lambda folder: os.kill(int((folder / "agent.pid").read_text()), signal.SIGKILL))
    with pytest.raises(AdvisorError, match=r"The agent on ssh://.* was killed after \d+ rounds"):
        remote.halves(graph, server.url())
    killer.join()


def little_memory(tmp_path: Path) -> Path:
    """A Python that runs the agent with a megabyte to spare."""
    small = tmp_path / "small"
    small.write_text(
        f'#!/bin/sh\n[ "$2" = run ] && export PYTHONSTARTUP= && exec {sys.executable} {tmp_path}/shrunk.py "$@"\n'
        f'exec {sys.executable} "$@"\n'
    )
    small.chmod(0o755)
    (tmp_path / "shrunk.py").write_text(
        "import resource, runpy, sys, torch\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))\n"
        "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return small


def test_a_dropped_connection_is_taken_up_again(server: Server, graph: PartitionGraph) -> None:
    def drop(_: Path) -> None:
        server.drop()
        time.sleep(1.5)
        server.start()

    dropper = meanwhile(drop)
    found = remote.halves(graph, server.url())
    dropper.join()
    assert found.whole.value > 0


def test_a_connection_that_does_not_come_back(
    server: Server, graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent removes what was sent by itself, once its lease ends."""
    monkeypatch.setattr(remote, "PATIENCE", 0.5)
    monkeypatch.setattr(remote, "LEASE", 2.0)
    dropper = meanwhile(lambda _: server.drop())
    with pytest.raises(AdvisorError, match=r"did not come back within 0.5 s"):
        remote.halves(graph, server.url())
    dropper.join()
    server.start()


def test_ctrl_c_cleans_up(server: Server, graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIME_LIMIT", 60.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background jobs
    killer = meanwhile(lambda _: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            remote.halves(graph, server.url())
    finally:
        killer.join()
        signal.signal(signal.SIGINT, before)
