"""Writes the parts of a plan in one format, runs them beside the plan's own halves, and says what was made."""

from __future__ import annotations

import math
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from advisor import wire
from advisor.cuts import ITEM_BYTES
from advisor.exporting import program
from advisor.exporting.checking import Runner, check, is_fresh
from advisor.exporting.manifest import (
    CODEC_FILE,
    PLAN_FILE,
    Check,
    Crossing,
    Exported,
    FileEntry,
    NamedTensor,
    PartEntry,
)
from advisor.exporting.parts import Part, parts_of, random_inputs, tensors_in
from advisor.files import sha256
from advisor.graph import PartitionGraph
from advisor.plans import Plan
from advisor.preserve import left_as_found, plain_attention
from advisor.progress import Progress

EXAMPLE_BATCH = 3
NOISE = {
    "pt2": "The noise comes from torch's default generator, which each process seeds from the operating system: leave "
    "it unseeded on the edge. 32 bits of that seed count: whoever can guess part of what was sent can search for it.",
    "onnx": "The noise comes from ONNX Runtime, which seeds it from the clock, once for all sessions of a process: "
    "before you open an edge session call onnxruntime.set_seed(secrets.randbits(31)), which seeds it from the "
    "operating system and keeps two sessions apart. These 31 bits are all its state: whoever can guess part of what "
    "was sent can search for it. pt2 is the safer format for a noisy plan.",
}
FROZEN = "The model's owner froze its batch size: the parts take exactly {} samples."
CONSTANTS = "The model also returns constants, which an ONNX file does not hold."


def write_export(
    plan: Plan,
    graph: PartitionGraph,
    stage: Path,
    format: Literal["pt2", "onnx"],
    identity: dict[str, Any],
    tell: Progress,
) -> Exported:
    """Fill `stage` with the parts, the codec and `plan.json`; nothing that was not checked.

    Args:
        plan: what to write; it knows its graph.
        graph: of the model.
        stage: an empty folder.
        format: "pt2" or "onnx".
        identity: of the model.
        tell: progress.

    Raises:
        AdvisorError: when a part cannot be exported or disagrees with the plan's own.
    """
    with left_as_found(), torch.no_grad(), plain_attention():
        example = random_inputs(graph.inputs.tensors, graph.fixed_batch or EXAMPLE_BATCH)
        parts = parts_of(plan, graph, example, flat=format == "onnx")
        _write_parts(parts, graph, example, stage, format, tell)
        tell("check", 0.0, format)
        found, noisy = _checked(parts, plan, graph, stage, format)
    shutil.copyfile(str(wire.__file__), stage / CODEC_FILE)
    notes = [NOISE[format]] if noisy else []
    notes += [FROZEN.format(graph.fixed_batch)] if graph.fixed_batch else []
    notes += [CONSTANTS] if format == "onnx" and len(graph.results) > len(parts[-1].outputs) else []
    exported = _manifest(plan, graph, parts, stage, format, identity, found, tuple(notes))
    (stage / PLAN_FILE).write_text(exported.text(), encoding="utf-8")
    return exported


def _write_parts(
    parts: Sequence[Part],
    graph: PartitionGraph,
    flat: Sequence[Tensor],
    stage: Path,
    format: str,
    tell: Progress,
) -> None:
    for number, part in enumerate(parts):
        tell("export", number / len(parts), part.name)
        made = program.exported(part, graph, flat, graph.fixed_batch)
        path = stage / f"{part.name}.{format}"
        if format == "onnx":
            from advisor.exporting import onnx_file

            onnx_file.write(made, part, path)
        else:
            program.write(made, path)
        args, kwargs = program.call_arguments(part, graph, flat)
        flat = tensors_in(part.module(*args, **kwargs))


def _checked(parts: Sequence[Part], plan: Plan, graph: PartitionGraph, stage: Path, format: str) -> tuple[Check, bool]:
    """What the comparison found, and whether the parts add noise."""
    model = graph.run if plan.defense.name == "none" else None
    paths = [stage / f"{part.name}.{format}" for part in parts]
    if format == "pt2":
        runners = [_program_runner(path, part, graph) for path, part in zip(paths, parts, strict=True)]
        found = check(parts, runners, graph, _same_seed, True, f"torch {torch.__version__}", model)
        return found, model is None and is_fresh(parts[0], runners[0], graph)
    import onnxruntime

    from advisor.exporting.onnx_file import Session, ones_for_noise

    steady = [Session(path, part, constant_noise=True) for path, part in zip(paths, parts, strict=True)]
    found = check(
        parts, steady, graph, ones_for_noise, False, f"onnxruntime {onnxruntime.__version__}, CPU", model
    )  # fmt: skip
    return found, model is None and is_fresh(parts[0], Session(paths[0], parts[0]), graph)


def _program_runner(path: Path, part: Part, graph: PartitionGraph) -> Runner:
    module: nn.Module = program.read(path)

    def run(flat: Sequence[Tensor]) -> list[Tensor]:
        args, kwargs = program.call_arguments(part, graph, flat)
        return tensors_in(module(*args, **kwargs))

    return run


@contextmanager
def _same_seed() -> Iterator[None]:
    """The caller restores the generator."""
    torch.manual_seed(0)
    yield
    torch.seed()


def _manifest(
    plan: Plan, graph: PartitionGraph, parts: Sequence[Part], stage: Path, format: Literal["pt2", "onnx"],
    identity: dict[str, Any], found: Check, notes: tuple[str, ...],
) -> Exported:  # fmt: skip
    crossings = [
        Crossing(sender.name, receiver.name, cut.name, sender.outputs, _sample_bytes(sender.outputs))
        for sender, receiver, cut in zip(parts, parts[1:], plan.cuts, strict=False)
    ]
    files = sorted(path for path in stage.iterdir() if not path.name.startswith("."))
    return Exported(
        format=format,
        model=identity,
        cuts=tuple(cut.name for cut in plan.cuts),
        defense=plan.defense,
        arguments=graph.inputs.structure,
        parts=tuple(PartEntry(p.name, p.place, f"{p.name}.{format}", p.inputs, p.outputs) for p in parts),
        crossings=tuple(crossings),
        wire=_wire(plan),
        batch=graph.fixed_batch,
        files={path.name: FileEntry(sha256(path), path.stat().st_size) for path in files},
        predicted=plan.predicted,
        verified=plan.verified,
        check=found,
        notes=notes,
        versions={"python": platform.python_version(), "torch": torch.__version__},
    )


def _wire(plan: Plan) -> dict[str, Any]:
    """How to read what is sent; restoring is the receiving part's work, and said for others."""
    told = {"codec": CODEC_FILE, "version": wire.VERSION, "byte_order": "little", "magic": wire.MAGIC.decode()}
    roles = plan.defense.wire_roles
    if len(roles) > 1:
        return told | {"layout": list(roles), "restore": "codes * step + low, each sample with its own low and step"}
    return told | {"layout": list(roles), "restore": None}


def _sample_bytes(tensors: Sequence[NamedTensor]) -> int:
    return sum(math.prod(t.shape) * ITEM_BYTES[t.dtype] for t in tensors)
