"""What became slower between two commits: tracing, costs, leakage columns of five networks, in turns in one run.

    python -m benchmarks.slower [--before 4c615ce^] [--turns 4]

Two processes import the package, one from each commit. They take turns, network by network, and the processor's time of
each is told: the median over the turns, and the median of the ratios. Six forward passes of two samples, which checking
dimension 0 may cost, are taken off the later one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("profilers", "estimators", "reports")
NETS = ("digits CNN", "MLP", "GRU", "resnet18", "mobilenet_v3_small")
STEPS = ("trace", "profile", "leakage", "passes")
PASSES = 6

WORK = """
import sys, time
from importlib.machinery import PathFinder
sys.meta_path[:] = [f for f in sys.meta_path if f is PathFinder or f.find_spec("advisor", None) is None]  # editable
sys.path.insert(0, sys.argv[1])
import torch, advisor
from torch import nn
assert advisor.__file__.startswith(sys.argv[1]), advisor.__file__
torch.set_num_threads(1)

class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(16, 32, batch_first=True), nn.Linear(32, 4)
    def forward(self, x):
        return self.head(torch.relu(self.gru(x)[0][:, -1]))

def made(name):
    torch.manual_seed(0)
    if name == "GRU":
        return Gru(), (12, 16)
    if name == "MLP":
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)), (64,)
    if name == "digits CNN":
        block = lambda i, o, s=1: [nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.ReLU()]
        head = [nn.Flatten(), nn.Linear(256, 10)]
        return nn.Sequential(*block(1, 16), *block(16, 32, 2), *block(32, 64, 2), *head), (1, 8, 8)
    import torchvision
    return getattr(torchvision.models, name)(weights=None), (3, 64, 64)

def timed(act):
    started = time.process_time()
    found = act()
    return time.process_time() - started, found

kept = {}
for line in sys.stdin:
    name = line.strip()
    net, shape = kept.setdefault(name, made(name))
    net.eval()
    x = torch.rand(48, *shape, generator=torch.Generator().manual_seed(0))
    traced, graph = timed(lambda: advisor.trace(net, x[:2]))
    priced, _ = timed(lambda: advisor.profile(graph))
    small = name not in ("resnet18", "mobilenet_v3_small")
    only = ["fisher", "dcor", "rate", "linear_nmse"] if small else ["dcor"]
    leaked, _ = timed(lambda: advisor.leakage(graph, x, only=only))
    with torch.no_grad():
        passes, _ = timed(lambda: [net(x[:2]) for _ in range(6)])
    print(traced, priced, leaked, passes, flush=True)
"""


def tree(commit: str, folder: Path) -> Path:
    """The package of a commit as it is imported, below a folder."""
    packed = subprocess.run(["git", "archive", commit, "advisor", *FOLDERS], cwd=ROOT, check=True, capture_output=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    for name in FOLDERS:
        (folder / name).rename(folder / "advisor" / name)
    return folder


class Side:
    """A process that measures one commit."""

    def __init__(self, commit: str, folder: Path) -> None:
        words = [sys.executable, "-W", "ignore", "-c", WORK, str(tree(commit, folder))]
        self._run = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)

    def seconds(self, net: str) -> list[float]:
        """Of each step, for one network."""
        assert self._run.stdin is not None
        assert self._run.stdout is not None
        self._run.stdin.write(f"{net}\n")
        self._run.stdin.flush()
        return [float(word) for word in self._run.stdout.readline().split()]

    def close(self) -> None:
        self._run.communicate()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--before", default="4c615ce^")
    asked.add_argument("--after", default="HEAD")
    asked.add_argument("--turns", type=int, default=4)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        before, after = Side(given.before, Path(name) / "before"), Side(given.after, Path(name) / "after")
        for net in NETS:
            before.seconds(net), after.seconds(net)  # the first one warms caches
            turns = [
                [side.seconds(net) for side in ((before, after) if turn % 2 else (after, before))][
                    :: 1 if turn % 2 else -1
                ]
                for turn in range(given.turns)
            ]
            for step, what in enumerate(STEPS[:-1]):
                then = [old[step] for old, _ in turns]
                now = [new[step] - (new[-1] if what == "trace" else 0.0) for _, new in turns]
                ratio = statistics.median(b / a for a, b in zip(then, now, strict=True))
                a, b = statistics.median(then), statistics.median(now)
                print(f"{net:20} {what:8} {1e3 * a:9.1f} ms {1e3 * b:9.1f} ms  ratio {ratio:.3f}", flush=True)
        before.close(), after.close()


if __name__ == "__main__":
    main()
