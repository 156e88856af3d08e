"""Walk the whole zoo: is each model traced, how large, how fast against torch.export itself, exact, and exported?

    python benchmarks/zoo.py                              # every group; exact at ten cuts of each model
    python benchmarks/zoo.py --group timm --group nasty   # some groups
    python benchmarks/zoo.py resnet50 swin_t              # some models, of whatever group
    python benchmarks/zoo.py --all                        # exact at every cut
    python benchmarks/zoo.py --quick                      # at three cuts, neither timed against torch.export nor saved
    python benchmarks/zoo.py --list                       # what there is

A row each: operations and cuts; CPU seconds of a bare torch.export.export, of trace + cuts, and their ratio, in one
run; cuts at which the halves give the model's own output bit for bit (at two samples, and at the middle cut at three),
write to no input, and share all weights that add up; whether both halves of the middle cut came back the same from
torch.export.save.

Limits: every model traced and exact; trace + cuts at most twice the bare export, and at most 5 s for resnet50,
densenet121, vit_b_16 and swin_t. Exits 1 where one is passed. Groups whose library is not installed are left out with
a line.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ShapesCollection
from torch.utils import _pytree as pytree
from zoo_entries import Entry

from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.inputs import arguments
from advisor.support.preserve import plain_attention
from advisor.tracing.tracer import trace

MAX_RATIO = 2.0
NOTICEABLE = 1.0  # seconds of bare export below which the ratio is noise
SAMPLED_CUTS = 10
GROUPS = {
    "classification": ("torchvision", "zoo_torchvision"),
    "segmentation": ("torchvision", "zoo_torchvision"),
    "detection": ("torchvision", "zoo_torchvision"),
    "video": ("torchvision", "zoo_torchvision"),
    "flow": ("torchvision", "zoo_torchvision"),
    "quantized": ("torchvision", "zoo_torchvision"),
    "timm": ("timm", "zoo_timm"),
    "transformers": ("transformers", "zoo_transformers"),
    "everyday": ("torch", "zoo_everyday"),
    "nasty": ("torch", "zoo_everyday"),
}
ROW = "{:<38} {:>7} {:>6} {:>5} {:>8} {:>8} {:>6} {:>9} {:>9}  {}"


@dataclass(frozen=True)
class Thoroughness:
    """At how many cuts the halves are checked (None: at all), and whether exports are timed and saved."""

    cuts: int | None
    full: bool


@dataclass(frozen=True)
class Result:
    """What came out for one model; times in CPU seconds."""

    nodes: int
    cuts: int
    export: float
    trace: float
    exact: int
    checked: int
    exported: bool | None
    notes: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Trace and cuts over the bare export; NaN where torch.export alone refuses."""
        return self.trace / self.export

    def faults(self, limit: float) -> list[str]:
        """What is not as it should be."""
        wrong = {
            "slow": self.trace > limit or (self.ratio > MAX_RATIO and self.trace > NOTICEABLE),
            "not exact": self.exact < self.checked,
            "not exported": self.exported is False,
        }
        return [word for word, holds in wrong.items() if holds]


def main() -> int:
    """Walk the models, print a row each, say which limit was passed."""
    given = _arguments()
    torch.set_num_threads(1)
    wanted, listed = set(given.models), dict.fromkeys(given.group or GROUPS)
    print(ROW.format("model", "traced", "nodes", "cuts", "export s", "trace s", "ratio", "exact", "exported", ""))
    _exported(nn.ReLU(), (torch.rand(2, 3),), {})  # the first export of a process pays for torch's own imports
    how = Thoroughness(None if given.all else 3 if given.quick else SAMPLED_CUTS, not given.quick)
    failures, walked = [], 0
    per_node: dict[str, float] = {}
    for group in listed:
        for entry in _entries(group):
            if wanted and entry.name not in wanted and f"{group}:{entry.name}" not in wanted:
                continue
            if given.list:
                print(f"{group}:{entry.name}")
                continue
            walked += not entry.skip
            if not _report(f"{group}:{entry.name}", entry, how, per_node):
                failures.append(f"{group}:{entry.name}")
    _say_growth(per_node)
    print(
        f"{walked - len(failures)} of {walked} inside the limits"
        + (f"; not: {', '.join(failures)}" if failures else "")
    )
    return int(bool(failures))


def _say_growth(per_node: dict[str, float]) -> None:
    """Cost grows with the operations, not faster: the same family at two depths."""
    small, large = (per_node.get(f"classification:densenet{depth}") for depth in (121, 201))
    if small and large:
        print(
            f"densenet201 against densenet121: {large / small:.2f} times the seconds an operation (linear growth is 1)"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--group", action="append", choices=list(GROUPS), help="default: all")
    parser.add_argument("--all", action="store_true", help="check every cut, not a sample of them")
    parser.add_argument("--quick", action="store_true", help="three cuts, no bare export, nothing saved")
    parser.add_argument("--list", action="store_true", help="print the names only")
    return parser.parse_args()


def _entries(group: str) -> list[Entry]:
    library, home = GROUPS[group]
    if find_spec(library) is None:
        print(f"{group}: left out, {library} is not installed")
        return []
    function = getattr(import_module(home), group if hasattr(import_module(home), group) else "families")
    entries: list[Entry] = function()
    return entries


def _report(name: str, entry: Entry, how: Thoroughness, per_node: dict[str, float]) -> bool:
    if entry.skip:
        print(ROW.format(name, "skipped", *[""] * 7, entry.skip))
        return True
    try:
        found = measure(entry, how)
    except Exception as error:  # noqa: BLE001 - the row says so, and the forward pass goes on
        told = isinstance(error, AdvisorError) and bool(entry.refused) and entry.refused in str(error)
        reason = str(error) if isinstance(error, AdvisorError) else f"CRASH {type(error).__name__}: {error}"
        print(ROW.format(name, "refused" if told else "NO", *[""] * 7, reason.splitlines()[0]), flush=True)
        return told
    faults = found.faults(entry.seconds)
    per_node[name] = found.trace / found.nodes
    exported = {True: "yes", False: "NO", None: "-"}[found.exported]
    told_of = "; ".join([*map(str.upper, faults), *found.notes])
    print(
        ROW.format(
            name, "yes", found.nodes, found.cuts, f"{found.export:.2f}", f"{found.trace:.2f}", f"{found.ratio:.2f}",
            f"{found.exact}/{found.checked}", exported, told_of,
        ),
        flush=True,
    )  # fmt: skip
    return not faults


def measure(entry: Entry, how: Thoroughness) -> Result:
    """Trace one model; check its halves."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _lively(entry.make().eval())
        traced, graph = _timed(lambda: _with_cuts(model, entry.inputs(2)))
        exported = _bare_export(model, entry.inputs(2)) if how.full else float("nan")
        with torch.no_grad(), plain_attention():
            exact, checked = _exact(model, graph, entry.inputs, how.cuts)
            saved = _saved(graph, entry.inputs(2)) if how.full else None
    nodes = sum(len(graph.piece_nodes(cut.index)) for cut in graph.cuts)
    return Result(nodes, len(graph.cuts), exported, traced, exact, checked, saved, graph.notes)


def _lively(model: nn.Module) -> nn.Module:
    """Weights that start at zero (gates, last norms, heads) would hide a lost branch: make them small instead."""
    for parameter in model.parameters():
        if parameter.dim() and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()  # on one thread what it takes alone; other processes do not count
    result = work()
    return time.process_time() - start, result


def _bare_export(model: nn.Module, x: Any) -> float:
    try:
        return _timed(lambda: _exported(model, *arguments(x, model)))[0]
    except Exception:  # noqa: BLE001 - torch.export alone refuses what a fall-back took
        return float("nan")


def _with_cuts(model: nn.Module, x: Any) -> PartitionGraph:
    graph = trace(model, x)
    assert graph.cuts
    return graph


def _exported(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    shapes = ShapesCollection()  # type: ignore[no-untyped-call]
    for leaf in pytree.tree_leaves((args, kwargs)):
        shapes[leaf] = {0: Dim.AUTO}
    return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)


def call(module: nn.Module, x: Any) -> Any:
    """As a user would: a tuple is several arguments, a dict names them."""
    args, kwargs = arguments(x, module)
    return module(*args, **kwargs)


def _exact(model: nn.Module, graph: PartitionGraph, inputs: Callable[[int], Any], cuts: int | None) -> tuple[int, int]:
    count = len(graph.cuts)
    wanted = count if cuts is None else cuts
    sampled = sorted({round(i * (count - 1) / (wanted - 1)) for i in range(wanted)})
    expected = call(model, inputs(2))
    own = {id(p) for p in model.parameters()}
    live = {id(p) for half in graph.split(0) for p in half.parameters()}
    exact = [_faithful(graph, index, inputs(2), expected, live) and live <= own for index in sampled]
    exact.append(_faithful(graph, count // 2, inputs(3), call(model, inputs(3)), live))
    return sum(exact), len(exact)


def _faithful(graph: PartitionGraph, index: int, x: Any, expected: Any, live: set[int]) -> bool:
    """Whether the halves give the model's own output, write to no input, and hold its weights between them."""
    edge, cloud = graph.split(index)
    halves = [{id(p) for p in half.parameters()} for half in (edge, cloud)]
    before = pytree.tree_map_only(Tensor, torch.clone, x)
    crossing = call(edge, x)
    sent = pytree.tree_map_only(Tensor, torch.clone, crossing)
    found = cloud(crossing)
    return equal(found, expected) and equal(x, before) and equal(crossing, sent) and halves[0] | halves[1] == live


def equal(first: Any, second: Any) -> bool:
    """Bit for bit, structure and types included; numbers that are not finite count as a failure."""
    (a, a_structure), (b, b_structure) = pytree.tree_flatten(first), pytree.tree_flatten(second)
    return a_structure == b_structure and all(map(_same, a, b))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)


def _saved(graph: PartitionGraph, x: Any) -> bool:
    """Whether both halves of the middle cut come back from a file and compute the same."""
    edge, cloud = graph.split(len(graph.cuts) // 2)
    crossing = call(edge, x)
    return _round_trip(edge, x, crossing) and _round_trip(cloud, crossing, cloud(crossing))


def _round_trip(half: nn.Module, x: Any, expected: Any) -> bool:
    args, kwargs = arguments(x, half)
    file = io.BytesIO()
    try:
        torch.export.save(_exported(half, args, kwargs), file)
        file.seek(0)
        again = torch.export.load(file).module()
        return equal(again(*args, **kwargs), expected)
    except Exception as error:  # noqa: BLE001 - the row says so
        print(f"    {type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")
        return False


if __name__ == "__main__":
    sys.exit(main())
