"""The halves of a plan as they are written: flat tensors between them, plain containers at the ends."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.cuts import TensorSpec
from advisor.errors import AdvisorError
from advisor.exporting.folder import PART_NAMES
from advisor.exporting.manifest_entries import NamedTensor, Noise, Place
from advisor.exporting.noise_input import Noised, draws_of, noise_of
from advisor.runtime.edge import NORMAL

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph
    from advisor.plans import Plan

PLAIN = (tuple, list, dict)


@dataclass(frozen=True, eq=False)
class Part:
    """One module to be written.

    Attributes:
        name, place: "edge" and where it runs.
        module: takes the user's inputs, or else one argument: what the part before returned.
        half: the plan's own module.
        inputs, outputs: flat tensors, in order; noise is the last input.
        noise: what the half draws, which `module` takes as an input; None where it draws nothing.
        from_user: whether it takes the user's inputs, and whether these are flat tensors.
        sent: how what it returns is nested.
    """

    name: str
    place: Place
    module: nn.Module
    half: nn.Module
    inputs: tuple[NamedTensor, ...]
    outputs: tuple[NamedTensor, ...]
    noise: Noise | None
    from_user: Literal["nested", "flat", ""]
    sent: pytree.TreeSpec


class FromUser(nn.Module):
    """The first part: the model's own inputs; flat tensors where they are of a type that a fresh process lacks."""

    def __init__(self, half: nn.Module, structure: pytree.TreeSpec | None) -> None:
        super().__init__()
        self.inner = half
        self.structure = structure

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What is sent: a tensor, or a flat tuple of them."""
        if self.structure is not None:
            args, kwargs = pytree.tree_unflatten(list(args), self.structure)
        return _flat(self.inner(*args, **kwargs))


class FromWire(nn.Module):
    """A later part: one argument, a tensor or a flat tuple of them, as the part before returned it."""

    def __init__(self, half: nn.Module, structure: pytree.TreeSpec, last: bool, flat: bool) -> None:
        super().__init__()
        self.inner = half
        self.structure = structure
        self.keep = last and not flat

    def forward(self, wire: Any) -> Any:
        """What is sent on, or the model's outputs."""
        sent = [wire] if isinstance(wire, Tensor) else list(wire)
        result = self.inner(pytree.tree_unflatten(sent, self.structure))
        return plain(result) if self.keep else _flat(result)


def parts_of(plan: Plan, graph: PartitionGraph, example: Sequence[Tensor], flat: bool = False) -> tuple[Part, ...]:
    """The parts of a plan, two or three.

    Args:
        plan: what to do where.
        graph: of the model.
        example: flat input tensors.
        flat: the model's output as bare tensors, without its structure and constants.

    Raises:
        AdvisorError: when the plan cannot be split.
    """
    halves = plan.split()
    value: Any = pytree.tree_unflatten(list(example), graph.in_spec)
    names = [node.name for node in graph.placeholders]
    entering = tuple(
        NamedTensor(n, "input", spec.dtype, spec.shape) for n, spec in zip(names, graph.inputs.tensors, strict=True)
    )
    parts: list[Part] = []
    for number, (name, half) in enumerate(zip(PART_NAMES[len(halves)], halves, strict=True)):
        last = number == len(halves) - 1
        module: nn.Module
        noise, shape = None, graph.inputs.structure
        if number == 0:
            module = FromUser(half, graph.in_spec if shape is None else None)
            result = half(*value[0], **value[1])
            module, noise = _with_noise_input(module, half, value, entering, len(example[0]))
            entering = (*entering, *([] if noise is None else [_noise_tensor(noise)]))
        else:
            module = FromWire(half, pytree.tree_structure(value), last, flat)
            result = half(value)
        leaving = _outputs(result, len(example[0])) if last else _crossing(result, number, plan)
        place: Place = "cloud" if name == "cloud" else "edge"
        called: Literal["nested", "flat", ""] = "" if number else "flat" if shape is None else "nested"
        spec = pytree.tree_structure(result)
        parts.append(Part(name, place, module.eval(), half, entering, leaving, noise, called, spec))
        value, entering = result, leaving
    return tuple(parts)


def _with_noise_input(
    module: FromUser, half: nn.Module, value: Any, taken: Sequence[NamedTensor], batch: int
) -> tuple[nn.Module, Noise | None]:
    draws = draws_of(lambda: half(*value[0], **value[1]), batch)
    noise = noise_of(draws, [*(t.name for t in taken), *value[1]])
    return (module, None) if noise is None else (Noised(module, draws, noise.name), noise)


def _noise_tensor(noise: Noise) -> NamedTensor:
    return NamedTensor(noise.name, "noise", noise.dtype, noise.shape)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of an output, in order."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def _flat(value: Any) -> Any:
    leaves = tensors_in(value)
    return leaves[0] if len(leaves) == 1 else tuple(leaves)


def plain(value: Any) -> Any:
    """A model's output in containers that every process knows: a type of its own becomes a dict, name to tensor."""
    if _is_plain(pytree.tree_structure(value)):
        return value
    return dict(_named(value))


def _is_plain(spec: pytree.TreeSpec) -> bool:
    return spec.is_leaf() or (spec.type in PLAIN and all(_is_plain(child) for child in spec.children()))


def _named(value: Any) -> list[tuple[str, Any]]:
    """Leaves of an output by the path that leads to them: `logits`, `0.boxes`."""
    found = []
    for path, leaf in pytree.tree_flatten_with_path(value)[0]:
        steps = (str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
        found.append((".".join(steps), leaf))
    return found


def _outputs(value: Any, batch: int) -> tuple[NamedTensor, ...]:
    leaves = [(path, leaf) for path, leaf in _named(value) if isinstance(leaf, Tensor)]
    if not leaves:
        raise AdvisorError("The model returns no tensor.", "There is nothing to write.")
    named = []
    for path, tensor in leaves:
        name = "output" if not path else f"output_{path}" if path[0].isdigit() else path
        batched = tensor.dim() > 0 and tensor.shape[0] == batch
        named.append(_named_tensor(re.sub(r"\W", "_", name), "output", tensor, batched))
    return tuple(named)


def _crossing(value: Any, number: int, plan: Plan) -> tuple[NamedTensor, ...]:
    """Names and roles of what is sent: one entry a tensor that crosses, or as many as the defense makes of it."""
    entries = [value] if isinstance(value, Tensor) else list(value)
    roles = plan.defense.wire_roles
    if (
        number == 0
        and len(entries) == len(roles)
        and all(isinstance(entry, Tensor) for entry in entries)
        and len(roles) > 1
    ):
        entries = [tuple(entries)]
    named = []
    for index, entry in enumerate(entries):
        prefix = f"sent{number}_{index}"
        if isinstance(entry, Tensor):
            named.append(_named_tensor(prefix, "values", entry))
            continue
        for role, tensor in zip(roles, entry, strict=True):
            named.append(_named_tensor(f"{prefix}_{role}", role, tensor))
    return tuple(named)


def _named_tensor(name: str, role: str, tensor: Tensor, batched: bool = True) -> NamedTensor:
    shape = tuple(tensor.shape[1:] if batched else tensor.shape)
    return NamedTensor(name, role, str(tensor.dtype).removeprefix("torch."), shape, batched)


def with_noise(part: Part, flat: Sequence[Tensor], seed: int) -> tuple[Tensor, ...]:
    """Flat inputs of a part, and noise `[batch, ...]` where it takes some, drawn by torch from a seed."""
    if part.noise is None:
        return tuple(flat)
    draw = torch.randn if part.noise.distribution == NORMAL else torch.rand
    generator, dtype = torch.Generator().manual_seed(seed), getattr(torch, part.noise.dtype)
    return (*flat, draw((len(flat[0]), *part.noise.shape), generator=generator, dtype=dtype))


def random_inputs(specs: Sequence[TensorSpec], batch: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Flat inputs `[batch, ...]`: real numbers in [0, 1); integers 0 or 1, each line begins with 1 and ends with 0, so
    that a mask never hides everything, whichever of them it means by that.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for spec in specs:
        dtype, shape = getattr(torch, spec.dtype), (batch, *spec.shape)
        if dtype.is_floating_point or dtype.is_complex:
            made.append(torch.rand(shape, generator=generator).to(dtype))
        else:
            values = torch.randint(0, 2, shape, generator=generator)
            width = shape[-1] if spec.shape and shape[-1] > 1 else math.prod(spec.shape)
            lines = values.view(batch, -1, width)
            lines[..., -1] = 0
            lines[..., 0] = 1
            made.append(values.to(dtype))
    return tuple(made)
