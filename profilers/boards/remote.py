"""Measured time on another machine over ssh: the agent and the halves go there, the times come back, nothing stays."""

from __future__ import annotations

import json
import secrets
import shlex
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.profilers.boards import agent, answers, tally
from advisor.profilers.boards.prepare import prepare
from advisor.profilers.boards.ssh import DroppedError, Shell, address
from advisor.profilers.halves.half_latency import Halves
from advisor.progress import Progress, silence

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph

TIME_LIMIT = 60.0
LEASE = 600.0
"""Seconds without a word from us after which the agent removes its folder and ends."""

PATIENCE = 180.0
"""Seconds for which a dropped connection is tried again."""

LOADING = 3600.0
"""Seconds that loading and compiling may take, beside ten times those of timing."""

POLL, RETRY = 1.0, 2.0
Facts = Mapping[str, Any]


def halves(graph: PartitionGraph, target: str, progress: Progress = silence, limit: float | None = None) -> Halves:
    """Measure both halves of every cut on the machine at `ssh://…`.

    Only these run there: mkdir, tar, the agent, cat, touch, kill, rm, in one new folder, under /tmp or the one named.

    Args:
        graph: the traced model.
        target: see `ssh.Address`.
        progress: told the share of the time limit that is used.
        limit: seconds of timing; loading comes on top.

    Raises:
        AdvisorError: when the machine cannot be reached or used; what was sent is then removed.
    """
    session = Session(target)
    with session.opened(), tempfile.TemporaryDirectory() as scratch:
        found = session.probe()
        runtime = session.runtime(found)
        folder = Path(scratch)
        job = prepare(graph, runtime, folder, fused_attention=_major(found.get("torch")) >= 2)
        job |= {"limit": limit or TIME_LIMIT, "lease": LEASE, "threads": session.at.threads, "on": session.at.on}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        session.send(folder, found)
        result = session.result(progress, limit or TIME_LIMIT)
    return tally.halves(result, len(graph.cuts), {**found, **result}, str(session.at))


class Session:
    """One folder on one machine, from its making to its removal."""

    def __init__(self, target: str) -> None:
        self.at = address(target)
        self.shell = Shell(self.at)
        # Chosen here: it can be removed though no answer came.
        self.name = shlex.quote(f"{self.at.folder.rstrip('/')}/advisor-{secrets.token_hex(8)}")
        self.python = shlex.quote(self.at.python)
        self.entered = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder and put the agent into it; take everything away again, whatever happens."""
        try:
            self._must(
                f"umask 077 && {{ mkdir {self.name} || test -O {self.name}; }} && touch {self.name}/alive",
                "make a folder",
            )
            source = Path(agent.__file__).read_bytes()
            self._must(f"cat > {self.name}/agent.py", "write a file", source)
            yield
        finally:
            self.clean()

    def clean(self) -> None:
        """Kill the agent and remove the folder; a machine that cannot be reached does so itself when the lease ends."""
        command = (
            f'for again in 1 2 3 4 5; do kill -9 "$(cat {self.name}/agent.pid 2>/dev/null)" 2>/dev/null;'
            f" rm -rf {self.name} 2>/dev/null && [ ! -e {self.name} ] && exit; sleep 0.2; done"
        )
        for _ in range(3):
            try:
                self.shell.run(command, timeout=30.0)
                return
            except DroppedError:
                time.sleep(RETRY)
            except AdvisorError:  # it never let us in, or is gone: the lease cleans up what there may be
                return

    def probe(self) -> Facts:
        """What the agent finds there.

        Raises:
            AdvisorError: when there is no Python that runs it.
        """
        status, out, errors = self._retried(f"{self.python} {self.name}/agent.py probe")
        if status or not out.strip():
            last = (errors.splitlines() or [f"exit status {status}"])[-1]
            raise AdvisorError(
                f"{self.at}: {self.at.python} does not run the agent: {last[:300]}.",
                "It needs Python 3.8 or newer; name one: ?python=/usr/bin/python3.",
            )
        return answers.probe(out.strip().splitlines()[-1], self.at)

    def runtime(self, found: Facts) -> str:
        """The runtime that was asked for, or the first that is there.

        Raises:
            AdvisorError: when there is none.
        """
        compiles = found.get("torch") if _major(found.get("torch")) >= 2 else None
        present = {
            "pytorch-eager": found.get("torch"), "onnxruntime": found.get("onnxruntime"), "torch-compile": compiles,
        }  # fmt: skip
        wanted = self.at.runtime or next((name for name, version in present.items() if version), "")
        if present.get(wanted):
            return wanted
        if wanted and wanted not in present:
            raise AdvisorError(f"The agent has no runtime {wanted!r}.", f"It has {', '.join(present)}.")
        reasons = "; ".join(f"{name}: {why}" for name, why in found.get("missing", {}).items())
        nothing = f"{wanted} cannot" if wanted else "neither PyTorch nor ONNX Runtime can"
        raise AdvisorError(
            f"{self.at}: {nothing} be used there ({reasons}).",
            f"Install it for {self.at.python}, or name another: ?python=….",
        )

    def send(self, folder: Path, found: Facts) -> None:
        """Copy the job and start the agent; doing it twice, after a dropped answer, does no harm.

        Raises:
            AdvisorError: when it does not fit there.
        """
        packed = folder.parent / f"{folder.name}.tar"
        try:
            with tarfile.open(packed, "w") as archive:
                for path in sorted(folder.iterdir()):
                    archive.add(path, path.name)
            size, free = packed.stat().st_size, found.get("free")
            if free is not None and size > 0.9 * free:
                raise AdvisorError(
                    f"{self.at} has {free / 1e6:.0f} MB free in {self.at.folder}, the halves take {size / 1e6:.0f} MB.",
                    "Name a folder on a larger disk: ?folder=/path.",
                )
            timeout = 120.0 + size / 1e5
            self._must(f"cd {self.name} && tar xf -", "unpack the halves", packed, timeout)
        finally:
            packed.unlink(missing_ok=True)
        start = f"cd {self.name} && {{ nohup {self.python} agent.py run . >log 2>&1 </dev/null & }}"
        self._must(start, "start the agent")

    def result(self, progress: Progress, limit: float) -> Facts:
        """Wait for the agent and fetch what it timed, for `limit` seconds of timing and a long time of loading.

        Raises:
            AdvisorError: when it failed, ran out of memory, or was killed.
        """
        mark = "--advisor--"
        look = (
            f"cd {self.name} && touch alive && cat result.json 2>/dev/null; echo; echo {mark};"
            f' kill -0 "$(cat agent.pid 2>/dev/null)" 2>/dev/null && echo running; echo {mark}; tail -c 2000 log'
        )
        seen, started = 0, time.monotonic()
        while True:
            _, out, _ = self._retried(look)
            text, alive, log = ([part.strip() for part in out.split(mark)] + ["", ""])[:3]
            found: Facts = answers.result(text, self.at)
            if found.get("state") in ("timing", "done"):
                progress(float(found.get("share", 1.0)))
            if found.get("state") == "done":
                return found
            if found.get("state") in ("memory", "failed"):
                raise self._failed(found, log)
            if time.monotonic() - started > LOADING + 10 * limit:
                raise AdvisorError(f"The agent on {self.at} does not come to an end.", "Use a smaller model.")
            seen = 0 if alive else seen + 1
            if seen > 2 and (text or time.monotonic() - started > 10 * POLL):
                raise self._killed(found, log)
            time.sleep(POLL)

    def _failed(self, found: Facts, log: str) -> AdvisorError:
        why = found.get("why") or "it does not say why"
        if found["state"] == "memory":
            return AdvisorError(f"{self.at} ran out of memory: {why}.", "Use a smaller model or device.")
        return AdvisorError(f"The agent on {self.at} failed: {why}.", "Try the other runtime: ?runtime=….")

    def _killed(self, found: Facts, log: str) -> AdvisorError:
        last = f" Its last words: {log.splitlines()[-1][:200]}." if log else ""
        return AdvisorError(
            f"The agent on {self.at} was killed after {found.get('rounds', 0)} rounds, perhaps for want of memory."
            f"{last}",
            "Run it again, with a smaller model if it happens twice.",
        )

    def _must(self, command: str, what: str, stdin: bytes | Path | None = None, timeout: float = 120.0) -> None:
        status, _, errors = self._retried(command, stdin, timeout)
        if status:
            last = (errors.splitlines() or [f"exit status {status}"])[-1]
            raise AdvisorError(
                f"{self.at} cannot {what}: {last[:300]}.",
                "Check its disk and permissions, or name a folder: ?folder=/path.",
            )

    def _retried(self, command: str, stdin: bytes | Path | None = None, timeout: float = 120.0) -> tuple[int, str, str]:
        """Run a command, again after every dropped connection, for as long as our patience lasts."""
        first: float | None = None
        while True:
            try:
                done = self.shell.run(command, stdin, timeout)
                self.entered = True
                return done
            except (DroppedError, AdvisorError) as error:
                now = time.monotonic()
                first = now if first is None else first
                lost = self.entered and (isinstance(error, DroppedError) or "cannot be reached" in str(error))
                if not lost and isinstance(error, AdvisorError):
                    raise
                if not lost:
                    raise AdvisorError(f"{self.at} cannot be reached: {error}.", "Check its ssh server.") from None
                if now - first > PATIENCE:
                    raise AdvisorError(
                        f"The connection to {self.at} broke and did not come back within {PATIENCE:g} s: {error}.",
                        f"It removes what was sent within {LEASE / 60:g} minutes.",
                    ) from None
                time.sleep(RETRY)


def _major(version: str | None) -> int:
    head = str(version or "0").split(".")[0]
    return int(head) if head.isascii() and head.isdecimal() and len(head) < 9 else 0
