"""The system's OpenSSH as a way to run a few commands on a device: no password is asked for, host keys are checked."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, unquote, urlsplit

from advisor.errors import AdvisorError

SCHEME = "ssh://"
OPTIONS = ("python", "runtime", "threads", "on", "folder", "config", "identity")
FIXED = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3",
    "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "RequestTTY=no",
    "LogLevel=ERROR",
)  # fmt: skip
LARGEST = 16 * 2**20
"""Bytes of an answer: times of a thousand cuts have a tenth of that."""
PART = 2**16
REST = 2.0
"""Seconds after ssh's end in which the rest of what it said is read: a master that it leaves behind holds its pipes."""

BROKEN = 255
"""What ssh exits with when the connection, not the command, failed."""


class DroppedError(Exception):
    """The connection broke; what was started there goes on."""


@dataclass(frozen=True)
class Address:
    """Where and how to measure: `ssh://[user@]host[:port][?python=…&runtime=…&threads=…&on=…&folder=…&config=…&identity=…]`.

    Attributes:
        host: name, address, or an entry of the ssh configuration, with `user@` where one was given.
        port: 0 leaves it to the ssh configuration.
        python: interpreter on the device.
        runtime: "pytorch-eager", "torch-compile", "onnxruntime", or "" for what is there, the first or the last.
        threads: 0 leaves them as the runtime chooses.
        on: "cpu" or "cuda", or a provider of ONNX Runtime; "" takes the fastest that is there.
        folder: of the device, absolute, in which ours is made and removed again.
        config, identity: files for `ssh -F` and `ssh -i`; "" leaves ssh its own.
    """

    host: str
    port: int = 0
    python: str = "python3"
    runtime: str = ""
    threads: int = 0
    on: str = ""
    folder: str = "/tmp"
    config: str = ""
    identity: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.host}" + (f":{self.port}" if self.port else "")


def address(text: str) -> Address:
    """Parse `ssh://…`.

    Raises:
        AdvisorError: on a missing host, a port that is none, or an unknown option.
    """
    form = "Write ssh://user@host:port, options after a question mark: runtime=onnxruntime."
    try:
        parts = urlsplit(text)
        host, port, pairs = (
            parts.hostname or "",
            parts.port or 0,
            parse_qsl(parts.query, strict_parsing=bool(parts.query)),
        )
    except ValueError as error:
        raise AdvisorError(f"{text!r} is no address: {error}.", form) from None
    if parts.path.strip("/") or parts.fragment or parts.password is not None:
        raise AdvisorError(f"{text!r} is no address: it has more than user, host and port.", form)
    user = unquote(parts.username or "")
    if not host or host.startswith("-") or user.startswith("-"):
        raise AdvisorError(f"{text!r} names no host.", form)
    options = dict(pairs)
    for key in options:
        if key not in OPTIONS:
            raise AdvisorError(f"{text!r}: there is no option {key!r}.", f"It has {', '.join(OPTIONS)}.")
    threads = options.pop("threads", "0")
    if not (threads.isascii() and threads.isdecimal() and len(threads) < 6):
        raise AdvisorError(f"{text!r}: threads={threads} is no number.", form)
    if not options.get("folder", "/").startswith("/"):
        raise AdvisorError(
            f"{text!r}: folder={options['folder']} is not absolute.", "Write folder=/path/on/the/device."
        )
    return Address(f"{user}@{host}" if user else host, port, threads=int(threads), **options)


@dataclass(frozen=True)
class Shell:
    """Runs commands on a device."""

    at: Address

    def argv(self, command: str) -> list[str]:
        """What is executed here; there, a POSIX shell runs `command` whatever the login shell is."""
        words = ["ssh", *(word for option in FIXED for word in ("-o", option))]
        words += ["-F", self.at.config] if self.at.config else []
        words += ["-i", self.at.identity, "-o", "IdentitiesOnly=yes"] if self.at.identity else []
        words += ["-p", str(self.at.port)] if self.at.port else []
        return [*words, "--", self.at.host, f"exec sh -c {shlex.quote(command)}"]

    def run(self, command: str, stdin: bytes | Path | None = None, timeout: float = 120.0) -> tuple[int, str, str]:
        """Exit status, output and errors of a command.

        Args:
            command: of a POSIX shell.
            stdin: bytes, or a file to read them from.
            timeout: seconds after which the connection counts as dropped.

        Raises:
            AdvisorError: when the device cannot be reached, or does not let us in.
            DroppedError: when the connection broke after it had been made.
        """
        try:
            done = self._call(command, stdin, timeout)
        except FileNotFoundError:
            raise AdvisorError("There is no ssh on this computer.", "Install the OpenSSH client.") from None
        except subprocess.TimeoutExpired:
            raise DroppedError(f"no answer within {timeout:g} s") from None
        errors = done.stderr.decode(errors="replace").strip()
        if done.returncode == BROKEN:
            raise _refusal(self.at, errors) or DroppedError(errors or "ssh said nothing")
        return done.returncode, done.stdout.decode(errors="replace"), errors

    def _call(self, command: str, stdin: bytes | Path | None, timeout: float) -> subprocess.CompletedProcess[bytes]:
        # A session of its own: Ctrl-C must not kill the ssh that cleans up.
        with tempfile.TemporaryFile() if not isinstance(stdin, Path) else stdin.open("rb") as file:
            if not isinstance(stdin, Path):
                file.write(stdin or b"")
                file.seek(0)
            process = subprocess.Popen(
                self.argv(command), stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        try:
            return _heard(process, timeout)
        finally:
            process.kill()
            process.wait()


def _heard(process: subprocess.Popen[bytes], timeout: float) -> subprocess.CompletedProcess[bytes]:
    """What a process says until it ends; one that says too much, or too long, is not heard to the end."""
    out, errors = bytearray(), bytearray()

    def listen(said: bytearray, pipe: IO[bytes]) -> None:
        while len(said) <= LARGEST and (part := pipe.read1(PART)):  # type: ignore[attr-defined]
            said += part
        if len(said) > LARGEST:
            process.kill()

    pairs = [(said, pipe) for said, pipe in ((out, process.stdout), (errors, process.stderr)) if pipe]
    listeners = [threading.Thread(target=listen, args=pair, daemon=True) for pair in pairs]
    for listener in listeners:
        listener.start()
    status = process.wait(timeout)
    for listener in listeners:
        listener.join(REST)
    if max(len(out), len(errors)) > LARGEST:
        raise AdvisorError(f"The device answers more than {LARGEST / 2**20:g} MiB.", "Check what runs there.")
    return subprocess.CompletedProcess(process.args, status, bytes(out), bytes(errors))


_REFUSALS: Sequence[tuple[tuple[str, ...], str, str]] = (
    (("REMOTE HOST IDENTIFICATION HAS CHANGED", "host key for", "Host key verification failed"),
     "The host key of {at} is not the one that is known",
     "Compare it with the device's own, then add it: ssh-keyscan HOST >> ~/.ssh/known_hosts."),
    (("Permission denied", "Too many authentication failures", "no such identity"), "{at} does not accept our key",
     "Add it there with ssh-copy-id, or name another: ?identity=FILE."),
    (("Could not resolve", "Name or service not known"), "There is no host {at}", "Check the name."),
    (("Connection refused", "No route to host", "Network is unreachable", "Connection timed out",
      "Operation timed out"), "{at} cannot be reached", "Check that it is on, and that its ssh server runs."),
    (("Can't open user config", "Bad configuration option", "command-line"), "ssh refuses its configuration", ""),
)  # fmt: skip


def _refusal(at: Address, errors: str) -> AdvisorError | None:
    """Why the device cannot be used at all; None where the connection merely broke."""
    for signs, problem, next_step in _REFUSALS:
        if any(sign in errors for sign in signs):
            last = next((line for line in errors.splitlines() if any(sign in line for sign in signs)), errors)
            return AdvisorError(f"{problem.format(at=at)}: {last.strip(' @.')}.", next_step)
    return None
