"""Writes the parts of a plan in one format, runs them beside the plan's own halves, and says what was made."""

from __future__ import annotations

import dataclasses
import math
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from advisor import wire
from advisor.cuts import ITEM_BYTES
from advisor.exporting import program
from advisor.exporting.attacked_again import attack_again
from advisor.exporting.checking import Runner, check
from advisor.exporting.folder import BESIDE
from advisor.exporting.freshness import check_freshness
from advisor.exporting.manifest import CODEC_FILE, PLAN_FILE, Exported
from advisor.exporting.manifest_entries import Check, Crossing, FileEntry, NamedTensor, PartEntry
from advisor.exporting.parts import Part, parts_of, random_inputs, tensors_in, with_noise
from advisor.files import sha256
from advisor.graph import PartitionGraph
from advisor.plans import Plan
from advisor.progress import Progress, RunListener, about, of_stage
from advisor.support.preserve import left_as_found, plain_attention

if TYPE_CHECKING:
    from advisor.data.samples import Samples

EXAMPLE_BATCH = 3
NOISY = (
    "The edge takes one more input, {name}: {distribution} of shape [N{shape}], new for each call, from a "
    "generator made for secrets. edge.py draws it from the operating system's. What got lost is sent again as it was."
)
FROZEN = "The model's owner froze its batch size: the parts take exactly {} samples."
CONSTANTS = "The model also returns constants, which an ONNX file does not hold."


def write_export(
    plan: Plan,
    graph: PartitionGraph,
    stage: Path,
    format: Literal["pt2", "onnx"],
    identity: dict[str, Any],
    progress: RunListener | None,
    samples: Samples | str = "no samples were given",
) -> Exported:
    """Fill `stage` with the parts, the edge's and the wire's code and `plan.json`; nothing that was not checked.

    Args:
        plan: what to write; it knows its graph.
        graph: of the model.
        stage: an empty folder.
        format: "pt2" or "onnx".
        identity: of the model.
        progress: told of each stage.
        samples: to attack what was written with; or why there are none.

    Raises:
        AdvisorError: when a part cannot be exported or disagrees with the plan's own, or its noise is not as promised.
    """
    with left_as_found(), torch.no_grad(), plain_attention():
        example = random_inputs(graph.inputs.tensors, graph.fixed_batch or EXAMPLE_BATCH)
        parts = parts_of(plan, graph, example, flat=format == "onnx")
        _write_parts(parts, graph, example, stage, format, of_stage(progress, "export"))
        of_stage(progress, "check")(0.0, format)
        runners, runtime = _runners(parts, graph, stage, format)
        model = graph.run if plan.defense.identity else None
        found = check(parts, runners, graph, format == "pt2", runtime, model)
        fresh = check_freshness(plan, parts[0], runners[0], graph)
    attacked = attack_again(plan, graph, parts[0], runners[0], samples, about(of_stage(progress, "attack"), "edge"))
    for name, source in BESIDE.items():
        shutil.copyfile(source, stage / name)
    exported = _manifest(plan, graph, parts, stage, format, identity, found)
    exported = dataclasses.replace(exported, freshness=fresh, attacked=attacked, notes=_notes(exported, graph))
    (stage / PLAN_FILE).write_text(exported.text(), encoding="utf-8")
    return exported


def _notes(exported: Exported, graph: PartitionGraph) -> tuple[str, ...]:
    """What a user of the files must know."""
    noise, notes = exported.noise, []
    if noise is not None:
        shape = "".join(f", {size}" for size in noise.shape)
        notes.append(NOISY.format(name=noise.name, distribution=noise.distribution, shape=shape))
    notes += [FROZEN.format(graph.fixed_batch)] if graph.fixed_batch else []
    lost = exported.format == "onnx" and len(graph.results) > len(exported.parts[-1].outputs)
    return (*notes, *([CONSTANTS] if lost else []))


def _write_parts(
    parts: Sequence[Part],
    graph: PartitionGraph,
    flat: Sequence[Tensor],
    stage: Path,
    format: str,
    progress: Progress,
) -> None:
    for number, part in enumerate(parts):
        progress(number / len(parts), part.name)
        flat = with_noise(part, flat, seed=0)
        made = program.exported(part, graph, flat, graph.fixed_batch)
        path = stage / f"{part.name}.{format}"
        if format == "onnx":
            from advisor.exporting import onnx_file

            onnx_file.write(made, part, path)
        else:
            program.write(made, path)
        args, kwargs = program.call_arguments(part, graph, flat)
        flat = tensors_in(part.module(*args, **kwargs))


def _runners(parts: Sequence[Part], graph: PartitionGraph, stage: Path, format: str) -> tuple[list[Runner], str]:
    """The parts as they were written, and what runs them."""
    paths = [stage / f"{part.name}.{format}" for part in parts]
    if format == "pt2":
        made = [_program_runner(path, part, graph) for path, part in zip(paths, parts, strict=True)]
        return made, f"torch {torch.__version__}"
    import onnxruntime

    from advisor.exporting.onnx_file import Session

    sessions: list[Runner] = [Session(path, part) for path, part in zip(paths, parts, strict=True)]
    return sessions, f"onnxruntime {onnxruntime.__version__}, CPU"


def _program_runner(path: Path, part: Part, graph: PartitionGraph) -> Runner:
    module: nn.Module = program.read(path)

    def run(flat: Sequence[Tensor]) -> list[Tensor]:
        args, kwargs = program.call_arguments(part, graph, flat)
        return tensors_in(module(*args, **kwargs))

    return run


def _manifest(
    plan: Plan, graph: PartitionGraph, parts: Sequence[Part], stage: Path, format: Literal["pt2", "onnx"],
    identity: dict[str, Any], found: Check,
) -> Exported:  # fmt: skip
    crossings = [
        Crossing(sender.name, receiver.name, cut.name, sender.outputs, *_sizes(sender.outputs))
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
        noise=parts[0].noise,
        versions={"python": platform.python_version(), "torch": torch.__version__},
    )


def _wire(plan: Plan) -> dict[str, Any]:
    """How to read what is sent; restoring is the receiving part's work, and said for others."""
    told = {"codec": CODEC_FILE, "version": wire.VERSION, "byte_order": "little", "magic": wire.MAGIC.decode()}
    roles = plan.defense.wire_roles
    if len(roles) > 1:
        return told | {"layout": list(roles), "restore": "codes * step + low, each sample with its own low and step"}
    return told | {"layout": list(roles), "restore": None}


def _sizes(tensors: Sequence[NamedTensor]) -> tuple[int, int]:
    """Bytes of one sample's elements, and of its whole message."""
    elements = sum(math.prod(t.shape) * ITEM_BYTES[t.dtype] for t in tensors)
    return elements, elements + wire.overhead(1 + len(t.shape) for t in tensors)
