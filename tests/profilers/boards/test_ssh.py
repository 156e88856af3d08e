from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.profilers.boards.remote import _major
from advisor.profilers.boards.ssh import Address, Shell, _refusal, address
from advisor.profilers.machines import catalog


def test_addresses() -> None:
    assert address("ssh://pi") == Address("pi")
    assert address("ssh://me@board.local:2222") == Address("me@board.local", 2222)
    assert address("ssh://[::1]:22") == Address("::1", 22)
    found = address("ssh://b?python=/opt/py/bin/python3&runtime=onnxruntime&threads=2&on=CPUExecutionProvider")
    assert found.folder == "/tmp"
    assert address("ssh://b?folder=/data/some%20where").folder == "/data/some where"
    assert (found.python, found.runtime, found.threads) == ("/opt/py/bin/python3", "onnxruntime", 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ssh://", "names no host"),
        ("ssh://-oProxyCommand=x", "names no host"),
        ("ssh://-x@host", "names no host"),
        ("ssh://host/etc", "more than user, host and port"),
        ("ssh://me:secret@host", "more than user, host and port"),
        ("ssh://host:seven", "is no address"),
        ("ssh://host?colour=red", "no option 'colour'"),
        ("ssh://host?threads=two", "is no number"),
        ("ssh://host?folder=here", "folder=here is not absolute.*folder=/path"),
    ],
)
def test_what_is_no_address(text: str, says: str) -> None:
    with pytest.raises(AdvisorError, match=says):
        address(text)


def test_the_command_line_of_ssh() -> None:
    argv = Shell(address("ssh://me@host:2222?config=/c&identity=/k")).argv("echo 'a b'; exit")
    assert argv[0] == "ssh"
    assert argv[-3:] == ["--", "me@host", """exec sh -c 'echo '"'"'a b'"'"'; exit'"""]
    options = [after for before, after in itertools.pairwise(argv) if before == "-o"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no", "IdentitiesOnly=yes"} <= set(options)
    assert argv[argv.index("-F") + 1] == "/c"
    assert argv[argv.index("-i") + 1] == "/k"
    assert argv[argv.index("-p") + 1] == "2222"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("Host key verification failed.", "host key of ssh://h is not the one"),
        ("@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@", "host key of ssh://h is not the one"),
        ("me@h: Permission denied (publickey).", "does not accept our key"),
        ("ssh: Could not resolve hostname h: Name or service not known", "There is no host ssh://h"),
        ("ssh: connect to host h port 22: Connection refused", "ssh://h cannot be reached"),
        ("ssh: connect to host h port 22: No route to host", "ssh://h cannot be reached"),
    ],
)
def test_refusals_are_told_from_broken_connections(said: str, problem: str) -> None:
    assert problem in str(_refusal(address("ssh://h"), said))
    assert _refusal(address("ssh://h"), "Connection reset by peer") is None


def test_a_device_of_the_catalog_that_is_measured() -> None:
    found = catalog.device("ssh://me@board:22?runtime=onnxruntime")
    assert found.key == "ssh://me@board:22?runtime=onnxruntime"
    assert found.loads == ("onnx",)
    assert catalog.device("local:onnxruntime").loads == ("onnx",)
    with pytest.raises(AdvisorError, match=r"local cannot measure 'tensorrt'"):
        catalog.device("local:tensorrt")


@pytest.mark.parametrize("left", ["sleep 20 &", "sleep 20 >/dev/null &"])
def test_what_ssh_leaves_behind_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    """As the master of ControlPersist, which holds standard error open."""
    fake = tmp_path / "ssh"
    fake.write_text(f"#!/bin/sh\n{left}\necho said; echo why >&2; exit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    assert Shell(address("ssh://pi@board")).run("true") == (3, "said\n", "why")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("version", "major"), [("2.14.1+cu130", 2), ("²", 0), ("٢.1", 0), ("9" * 500, 0), ("", 0), (None, 0)]
)
def test_a_version_may_be_anything(version: str | None, major: int) -> None:
    assert _major(version) == major
