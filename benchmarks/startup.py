"""Start-up time: `import advisor` and `advisor --help`, limit 0.5 s each; best of some, in fresh interpreters.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

LIMIT = 0.5
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import advisor": ["-c", "import advisor"],
    "advisor --help": ["-m", "advisor", "--help"],
}


def seconds(arguments: list[str], repeats: int) -> float:
    """Best wall time over the repeats: start-up only ever gets slower by what else the computer does."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    found = {name: seconds(arguments, repeats) for name, arguments in COMMANDS.items()}
    for name, value in found.items():
        print(f"{name:<16} {value:.3f} s   limit {LIMIT} s")
    return int(max(found.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
