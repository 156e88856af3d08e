"""A run that is killed at random moments and resumed answers as one that was not: `python -m benchmarks.search.kills`.

It trains a small CNN on digits and runs `advisor recommend` once for reference. Then the same command is started over
and over on another storage and killed (SIGKILL) at a random moment; a run that ends before its moment is compared with
the reference, and a fresh storage begun, until there were so many kills. What is compared is `advice.json`, timings and
places apart. Rows are kept in kills.csv: what the storage held at each kill.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from advisor.planning.shared_study.results import NAME
from benchmarks.search.digits import digits, trained

HERE = Path(__file__).parent
TIMED = ("wall_time_s", "stages", "told", "made", "host", "command")
OPTIONS = ("--device", "raspberry-pi-4b", "--max-accuracy-drop", "3%", "--min-nmse", "0.1", "--trials", "12")
SAMPLES = 700
KINDS = ("round", "evaluation", "attack")
"""Of tasks whose number is told at each kill."""


def made(folder: Path) -> tuple[Path, Path]:
    """Files of a model with six cuts, and of data."""
    torch.manual_seed(0)
    x, y = digits(0)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 16, 10),
    )  # fmt: skip
    trained(net, x[:900], y[:900], epochs=5)
    model, data = folder / "model.pt2", folder / "data.npz"
    batch = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(net, (x[:2],), dynamic_shapes=batch, strict=False), model)
    np.savez(data, x=x[900 : 900 + SAMPLES].numpy(), y=y[900 : 900 + SAMPLES].numpy())
    return model, data


def command(files: tuple[Path, Path], place: Path) -> list[str]:
    """The run that is killed; the same at every place."""
    model, data = map(str, files)
    words = [str(Path(sys.executable).with_name("advisor")), "recommend", model, "--data", data, *OPTIONS]
    return [*words, "--out", str(place / "out"), "--storage", f"sqlite:///{place / 'study.db'}"]


def answer(place: Path) -> dict[str, Any]:
    """`advice.json` without timings and places."""
    told: dict[str, Any] = json.loads((place / "out" / "advice.json").read_text("utf-8"))
    for name in TIMED:
        told["provenance"].pop(name, None)
    told["request"]["search"].pop("storage")
    told["request"]["output"].pop("out")
    return told


def kept(place: Path) -> dict[str, int]:
    """How many finished tasks the storage holds, by kind."""
    file, found = place / "study.db", Counter[str]()
    if not file.exists():
        return {}
    with sqlite3.connect(file) as base:
        asked = "SELECT study_name FROM studies JOIN trials USING (study_id) WHERE state = 'COMPLETE'"
        try:
            names = [name for (name,) in base.execute(asked)]
        except sqlite3.OperationalError:  # killed before its tables were made
            return {}
    for name in names:
        kind = name.removeprefix(f"{NAME}-").partition("-")
        found[kind[0]] += bool(kind[2])  # the study of all trials has no digest
    return dict(found)


def done_before(words: list[str], moment: float) -> bool:
    """Whether a run came to its end; else it was killed."""
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
        return False
    return True


def killed_and_resumed(
    files: tuple[Path, Path], folder: Path, seconds: float, kills: int, seed: int
) -> Iterator[tuple[list[dict[str, object]], Path]]:
    """One storage after the other, each with its kills and where its run came to an end."""
    chance, number, storages = random.Random(seed), 0, 0
    while number < kills:
        storages += 1
        place, rows = folder / f"killed{storages}", list[dict[str, object]]()
        place.mkdir()
        while number < kills:
            moment = chance.uniform(0.1, 1.0) * seconds
            if done_before(command(files, place), moment):
                break
            number += 1
            held = kept(place)
            rows.append(
                {"kill": number, "storage": storages, "after_s": f"{moment:.1f}"}
                | {kind: held.get(kind, 0) for kind in KINDS}
            )
            print(rows[-1], flush=True)
        else:
            subprocess.run(command(files, place), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield rows, place


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=10)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    found = list[dict[str, object]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = made(folder)
        whole = folder / "whole"
        whole.mkdir()
        started = time.monotonic()
        subprocess.run(command(files, whole), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        print(f"without a kill: {seconds:.0f} s, {kept(whole)}", flush=True)
        for rows, place in killed_and_resumed(files, folder, seconds, given.kills, given.seed):
            same = answer(place) == answer(whole)
            found += [row | {"identical": same} for row in rows]
            print(f"{place.name}: the answers {'are the same' if same else 'DIFFER'}", flush=True)
    with (HERE / "kills.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        lines.writeheader()
        lines.writerows(found)
    sys.exit(0 if all(row["identical"] for row in found) else 1)


if __name__ == "__main__":
    main()
