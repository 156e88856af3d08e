"""Mutated model files of every kind: each must load, or be refused in one line. Nothing may crash, hang or trace back.

    python -m benchmarks.fuzz_loaders [--inputs 300] [--seed 0] [KIND ...]

Every input is loaded in a child process with bounds on its time and memory: a crash is counted, not suffered.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path
from typing import Any

from tests import hostile

SECONDS, MEMORY = 30, 12 << 30  # bounds of one input
ODD: tuple[Any, ...] = (None, True, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 1.5, float("nan"), "", "x", "nan",
                        "\x1b[31m", "\u202e", "a" * 5000, "s0", "1<<99999999999", [], {}, [[]], {"a": 1}, [0] * 50,
                        {"as_int": 2**62}, {"as_expr": {"expr_str": "s0", "hint": None}})  # fmt: skip
WORDS = ("torch", "ops", "prim", "aten", "from_file", "save", "getattr", "__setstate__", "self", "forward", "-1", '"x"',
         "while True:", "9223372036854775807", *"()[].,=#\\\n\u0430", "  ")  # fmt: skip
PICKLE = b"(}]().tabcdeghjkloqrsuR0123N\x81\x82\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95"


def flipped(data: bytes, random: random.Random) -> bytes:
    """Bytes cut off, taken out, put in or changed."""
    if not data:
        return random.randbytes(3)
    content, choice = bytearray(data), random.random()
    at = random.randrange(len(content))
    if choice < 0.15:
        return bytes(content[:at])
    if choice < 0.25:
        del content[at : at + random.randrange(1, 64)]
    elif choice < 0.35:
        content[at:at] = random.randbytes(random.randrange(1, 32))
    else:
        for _ in range(random.choice((1, 1, 2, 4, 16, 64))):
            at = random.randrange(len(content))
            content[at] = random.choice((random.randrange(256), content[at] ^ (1 << random.randrange(8)), 0, 255))
    return bytes(content)


def odd_json(data: bytes, random: random.Random) -> bytes:
    """A JSON document with a field replaced, doubled or taken out."""
    document = json.loads(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        stack = [document]
        while stack:
            value = stack.pop()
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, inner in items:
                places.append((value, key))
                stack.append(inner)
        if not places:
            break
        owner, key = random.choice(places)
        if random.random() < 0.2:
            del owner[key]
        else:
            owner[key] = random.choice(ODD)
    return json.dumps(document).encode()


def odd_code(data: bytes, random: random.Random) -> bytes:
    """Source text with words of a lexer's taste put in or exchanged."""
    words = data.decode("ascii", "replace").replace(".", " . ").replace("(", " ( ").split(" ")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(words))
        words[at : at + random.randrange(2)] = [random.choice(WORDS + tuple(words[:50]))]
    return " ".join(words).replace(" . ", ".").replace(" ( ", "(").encode("utf-8", "replace")


def odd_pickle(data: bytes, random: random.Random) -> bytes:
    """A pickle with instructions exchanged or put in."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(content) + 1)
        content[at : at + random.randrange(2)] = bytes([random.choice(PICKLE)])
    return bytes(content)


def mutated(kind: str, random: random.Random) -> bytes:
    """One mutation of an honest file: of its bytes as they lie, or of one member, with a right checksum."""
    data = hostile.legacy() if kind == "legacy" else hostile.honest(kind)
    if kind in ("legacy", "safetensors") or random.random() < 0.25:
        mutate = odd_pickle if kind == "legacy" and random.random() < 0.5 else flipped
        return mutate(data, random)
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    target = random.choice([n for n in members if members[n] and not n.endswith((".debug_pkl", "serialization_id"))])
    suffix = target.rpartition(".")[2]
    own = {"json": odd_json, "py": odd_code, "pkl": odd_pickle}.get(suffix, flipped)
    members[target] = (own if random.random() < 0.8 else flipped)(members[target], random)
    if random.random() < 0.05:
        members[target.replace("/", "/X", 1)] = members.pop(target)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return buffer.getvalue()


KINDS = ("pt2", "torchscript", "state_dict", "legacy", "module", "safetensors")


def load(path: Path) -> str:
    """Load and trace one file: "loaded", or "refused" in one line.

    Raises:
        Exception: anything else, which is a fault of this package.
    """
    import torch

    from advisor.errors import AdvisorError
    from advisor.loading import load_model
    from advisor.tracing.tracer import trace

    try:
        loaded = load_model(path, arch="tests.hostile:net")
        trace(loaded.model, loaded.example_inputs or (torch.rand(2, 3, 8, 8),))
    except AdvisorError as error:
        if "\n" in str(error) or len(str(error)) > 2000 or not error.next_step:
            raise RuntimeError(f"a message of {len(str(error))} characters: {str(error)[:200]}") from error
        return "refused"
    return "loaded"


def in_child(path: Path) -> str:
    """What a child process says of a file, or the signal that ended it."""
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        try:
            said = load(path)
        except MemoryError:
            said = "out of memory"
        except BaseException as error:  # noqa: BLE001 - this is what is looked for
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "/advisor/" in f.filename] or frames
            said = f"TRACEBACK {type(error).__name__} in {own[-1].name}, line {own[-1].lineno}: {str(error)[:150]}"
        os.write(start, said.encode("utf-8", "replace")[:2000])
        os._exit(0)
    os.close(start)
    with os.fdopen(end, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if said:
        return said
    return "HANG" if os.WTERMSIG(status) == signal.SIGALRM else f"CRASH by signal {os.WTERMSIG(status)}"


def main() -> int:
    """Print one line a kind and each fault with the file that shows it; 1 when there is a fault."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder, faults = Path(tempfile.mkdtemp(prefix="fuzz-")), 0
    for kind in options.kinds:
        randomness, counts = random.Random(f"{kind} {options.seed}"), collections.Counter[str]()
        path = folder / "model.pt"
        path.write_bytes(hostile.legacy() if kind == "legacy" else hostile.honest(kind))
        print(kind, "as it was:", load(path) if kind != "module" else "needs trust", flush=True)
        for number in range(options.inputs):
            path.write_bytes(mutated(kind, randomness))
            said = in_child(path)
            counts[said.split()[0]] += 1
            if said.startswith(("TRACEBACK", "HANG", "CRASH")):
                faults += 1
                kept = path.rename(folder / f"{kind}-{number}.pt")
                print("  ", said, kept, flush=True)
        print(kind, dict(counts), flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
