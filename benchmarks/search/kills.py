"""A run that is killed at random moments and resumed answers as one that was not: `python -m benchmarks.search.kills`.

It makes the model of the first example, runs `advisor recommend` once for reference, then kills (SIGKILL) the same
command over and over on one storage, and compares the two `advice.json`, timings and places apart.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TIMED = ("wall_time_s", "stages", "made", "host", "command")
OPTIONS = ("--data", "digits", "--device", "raspberry-pi-4b", "--max-accuracy-drop", "3%", "--min-nmse", "0.3")


def command(model: Path, out: Path, storage: str, more: list[str]) -> list[str]:
    words = [str(Path(sys.executable).with_name("advisor")), "recommend", str(model), "--out", str(out), *OPTIONS]
    return [*words, "--storage", storage, *more]


def answer(out: Path) -> dict[str, Any]:
    """`advice.json` without timings and places."""
    told: dict[str, Any] = json.loads((out / "advice.json").read_text("utf-8"))
    for name in TIMED:
        told["provenance"].pop(name, None)
    told["request"]["search"].pop("storage")
    told["request"]["output"].pop("out")
    return told


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=10)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--trials", default="12")
    given = asked.parse_args()
    chance, more = random.Random(given.seed), ["--trials", given.trials]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.pt2"
        example = ROOT / "examples" / "01_digits_cnn.py"
        subprocess.run([sys.executable, str(example), "--out", str(model)], check=True, stdout=subprocess.DEVNULL)
        started = time.monotonic()
        whole = command(model, folder / "whole", f"sqlite:///{folder / 'whole.db'}", more)
        subprocess.run(whole, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        print(f"one run without a kill: {seconds:.0f} s", flush=True)
        killed = command(model, folder / "killed", f"sqlite:///{folder / 'killed.db'}", more)
        for number in range(given.kills):
            run = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            moment = chance.uniform(0.15, 0.95) * seconds
            try:
                run.wait(moment)
                print(f"{number + 1}: done before {moment:.0f} s", flush=True)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                print(f"{number + 1}: killed after {moment:.0f} s", flush=True)
        subprocess.run(killed, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        same = answer(folder / "whole") == answer(folder / "killed")
    print("the answers are the same" if same else "the answers DIFFER")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
