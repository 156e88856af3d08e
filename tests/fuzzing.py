"""Fuzzing: bytes and fields of honest files are changed at random, and a loader must take the result or refuse it.

In the tests each target runs a few inputs; by hand as many as you like:

    python -m tests.fuzzing tests.advisor.test_fuzz_documents 1000 --seed 1 --out fuzzed

A row a target is kept in `fuzzed/rows.csv` as it ends; a run that was stopped goes on after the last.

Each input is loaded in a forked process with a limit of processor time, so that a crash or a hang of one does not end
the run.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import importlib
import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "x",
    "nan", "-inf", "\x1b[2J", "\u202e", "<script>", "a" * 5000, "1e999", "\ud800", "²", "\0", [], {}, [[]], [None],
    {"a": 1}, {"": None}, [1, 2, 3], ["x"], [0] * 50, {"key": "x"},
)  # fmt: skip
"""Values that a field is set to."""

MEMORY = 16 * 2**30


@dataclass(frozen=True)
class Target:
    """A loader under test.

    Attributes:
        name: for people.
        honest: what a good file holds: bytes, or a JSON value.
        load: takes the path of a changed file; may return anything, or raise an error that is allowed.
        suffix: of the file's name.
        allowed: exceptions that are a refusal.
        memory: bytes of addresses that a load may reserve.
    """

    name: str
    honest: Any
    load: Callable[[Path], object]
    suffix: str = ""
    allowed: tuple[type[BaseException], ...] = (AdvisorError,)
    memory: int = MEMORY

    def changed(self, rng: random.Random) -> bytes:
        """A file with something wrong in it."""
        if isinstance(self.honest, bytes):
            return flipped(self.honest, rng)
        text = json_text(with_odd_fields(self.honest, rng), rng)
        return text if rng.random() < 0.85 else flipped(text, rng)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Bytes cut off, left out, put in, or changed."""
    changed, kind = bytearray(data), rng.random()
    place = rng.randrange(len(data))
    if kind < 0.15:
        return data[:place]
    if kind < 0.25:
        del changed[place : place + rng.randrange(1, 64)]
    elif kind < 0.35:
        changed[place:place] = rng.randbytes(rng.randrange(1, 32))
    else:
        for _ in range(rng.choice([1, 1, 2, 4, 16, 64])):
            i = rng.randrange(len(changed))
            changed[i] = rng.choice([rng.randrange(256), changed[i] ^ (1 << rng.randrange(8)), 0, 255, 0x7F, 0x80])
    return bytes(changed)


def with_odd_fields(value: Any, rng: random.Random) -> Any:
    """A JSON value with one to three fields missing, doubled, added, or set to something odd."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = list(_places(value))
        if not places:
            return rng.choice(ODD)
        holder, key = rng.choice(places)
        kind = rng.random()
        if kind < 0.2:
            holder.pop(key)
        elif kind < 0.3 and isinstance(holder, list):
            holder.append(rng.choice(ODD))
        elif kind < 0.35 and isinstance(holder, dict):
            holder[rng.choice(["", "x", "\x1b[2J", "<b>", "__class__", "0"])] = rng.choice(ODD)
        elif kind < 0.4 and isinstance(holder[key], list):
            holder[key] = holder[key] * rng.choice([0, 2, 3])
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return value


def json_text(value: Any, rng: random.Random) -> bytes:
    """As JSON, now and then very deep or with a very long number."""
    text = json.dumps(value)
    if rng.random() < 0.05:
        text = text.replace(":", ": " + "[" * rng.choice([100, 3000, 100_000]), 1)
    if rng.random() < 0.03:
        text = text.replace("1", "9" * 5000, 1)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every (dict or list, key or index) inside; of long lists the first forty."""
    keys = list(value) if isinstance(value, dict) else range(min(40, len(value))) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def findings(target: Target, count: int, folder: Path, seed: int = 0, seconds: int = 60) -> Counter[str]:
    """Load `count` changed files; what was no clean refusal -> how often, the first file of each kept in `folder`."""
    rng, found = random.Random(f"{target.name} {seed}"), Counter[str]()
    path = folder / f"fuzzed{target.suffix}"
    for number in range(count):
        data = target.changed(rng)
        path.write_bytes(data)
        ended = _ended(target, path, seconds)
        if ended and ended not in found:
            (folder / f"found-{number}{target.suffix}").write_bytes(data)
        found[ended] += 1
    found.pop("", None)
    return found


def _ended(target: Target, path: Path, seconds: int) -> str:
    """How loading ended in a process of its own; "" where the file was taken or refused in one line."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _quiet_child(seconds, target.memory)
        os.write(write, _load(target, path).encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "hang" if number in (signal.SIGALRM, signal.SIGXCPU) else f"crash: {signal.Signals(number).name}"
    return said


WAITED = 5
"""Times the processor's seconds that a load may take: by the clock, on a machine that stands still now and then."""


def _quiet_child(seconds: int, memory: int) -> None:
    import resource

    faulthandler.disable()  # a crash is told by the parent
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WAITED * seconds)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _load(target: Target, path: Path) -> str:
    try:
        target.load(path)
    except target.allowed as error:
        return "" if "\n" not in str(error) and len(str(error)) < 5000 else f"no short line: {str(error)[:200]!r}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}: {str(error)[:200]}"
    return ""


def main() -> int:
    """Fuzz the targets of a test module at length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="with a function `targets(folder)`")
    parser.add_argument("count", type=int)
    parser.add_argument("--only", default="", help="part of a target's name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzzed"), help="folder for what is found")
    given = parser.parse_args()
    worst, rows = 0, given.out / "rows.csv"
    done = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    for target in importlib.import_module(given.module).targets(given.out):
        row = f"{given.module},{target.name},{given.count},{given.seed}"
        if given.only in target.name and not any(line.startswith(f"{row},") for line in done):
            folder = given.out / target.name
            folder.mkdir(parents=True, exist_ok=True)
            found = findings(target, given.count, folder, given.seed)
            print(f"{target.name}: {given.count} inputs, {sum(found.values())} findings", flush=True)
            with rows.open("a", encoding="utf-8") as file:
                file.write(f"{row},{sum(found.values())}\n")
            for what, times in found.most_common():
                print(f"  {times} × {what}", flush=True)
            worst = max(worst, len(found))
    return min(worst, 1)


if __name__ == "__main__":
    sys.exit(main())
