"""The edge's side of an exported plan: draw what the defense needs, run the edge half, pack what it returns.

    edge = Edge("folder")
    message = edge.send(x)      # as the model is called; its noise is drawn anew for each call
    again = edge.resend()       # the same bytes, where a message got lost: fresh noise could be averaged away

A copy lies beside exported halves. It needs numpy, `wire.py`, and torch (`.pt2`) or ONNX Runtime. Noise comes from the
operating system's generator: those of the runtimes ignore or repeat their seeds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

try:
    from advisor import wire
except ImportError:  # this file stands alone
    import wire  # type: ignore[import-not-found,no-redef]

NORMAL: Literal["standard normal"] = "standard normal"
UNIFORM: Literal["standard uniform"] = "standard uniform"
Half = Callable[..., Any]
"""An exported half: called as the model, or with what the half before it sent."""


def standard(distribution: str, shape: Sequence[int], dtype: str = "float32") -> wire.Array:
    """Independent draws from the operating system's generator.

    Args:
        distribution: `NORMAL` (mean 0, variance 1; Box and Muller 1958) or `UNIFORM` (above 0, below 1).
        shape: of the result.
        dtype: "float32" or "float64".

    Raises:
        wire.WireError: on another distribution.
    """
    count = math.prod(shape)
    pairs = (count + 1) // 2
    bits = np.frombuffer(os.urandom(16 * pairs), "<u8") >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53
    if distribution == NORMAL:
        radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
        found = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
    elif distribution == UNIFORM:
        found = np.minimum(uniform[:count], 1 - 2.0**-24)  # float32 would round the largest to 1
    else:
        raise wire.WireError(f"No noise is called {distribution!r:.80}.")
    return found.astype(dtype).reshape(tuple(shape))


class OwnFolder:
    """An export of one's own: files are opened as they are. `advisor.runtime` checks those of others first.

    Attributes:
        plan: what `plan.json` says.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.place = Path(folder)
        self.plan: dict[str, Any] = json.loads((self.place / "plan.json").read_text(encoding="utf-8"))

    def half(self, part: dict[str, Any]) -> Half:
        """A half in its runtime."""
        path = str(self.place / part["file"])
        if self.plan["format"] == "pt2":
            import torch

            return program(torch.export.load(path).module())
        import onnxruntime

        return session(self.plan, part, onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))


class Edge:
    """The halves that run on the edge.

    Args:
        folder: an export.
        kept: messages that `resend` can give again.

    Raises:
        wire.WireError: when the plan has no edge half that sends.
    """

    def __init__(self, folder: str | os.PathLike[str], *, kept: int = 16) -> None:
        opened = self._opened(folder)
        self.plan = opened.plan
        by_name = {part["name"]: part for part in self.plan["parts"]}
        self.crossings = self.plan["crossings"]
        self.part = by_name[self.crossings[0]["sender"]]
        self._half = opened.half(self.part)
        self._tail = opened.half(by_name[self.crossings[1]["receiver"]]) if len(self.crossings) > 1 else None
        self._kept, self._most = dict[int, bytes](), kept
        self.number = 0
        """Of the message that was sent last; the first is 1."""

    def _opened(self, folder: str | os.PathLike[str]) -> OwnFolder:
        return OwnFolder(folder)

    def send(self, *args: Any, **kwargs: Any) -> bytes:
        """The message of inputs `[N, ...]`, numpy arrays or torch tensors, given as to the model.

        Raises:
            wire.WireError: when they are not what the half takes.
        """
        batch = check_inputs(self.part, list(leaves((args, kwargs))), self.plan["batch"])
        noise = self.plan.get("noise")
        if noise is not None:
            drawn = standard(noise["distribution"], (batch, *noise["shape"]), noise["dtype"])
            kwargs = {**kwargs, noise["name"]: drawn}
        message = wire.pack(self._half(*args, **kwargs))
        self.number += 1
        self._kept[self.number] = message
        self._kept.pop(self.number - self._most, None)
        return message

    def resend(self, number: int | None = None) -> bytes:
        """A message again, bit by bit; by default the last.

        Raises:
            wire.WireError: when it was never sent, or is no longer kept.
        """
        wanted = self.number if number is None else number
        if wanted not in self._kept:
            raise wire.WireError(f"Message {wanted} is not kept: the last was {self.number}, {self._most} are kept.")
        return self._kept[wanted]

    def receive(self, data: bytes) -> Any:
        """The model's output, from what the cloud of a U-shaped plan sends back.

        Raises:
            wire.WireError: when it is not what the plan says, or the plan has no half after the cloud.
        """
        if self._tail is None:
            raise wire.WireError("This plan has no half after the cloud, which gives the output itself.")
        return received(self._tail, data, self.crossings[1]["tensors"])


def received(half: Half, data: bytes, tensors: Any, most: int | None = None) -> Any:
    """What a half makes of a message of just these tensors, of at most so many samples; known before it is unpacked."""
    told = wire.describe(data)
    if most is not None and any(shape and shape[0] > most for _, shape in told):
        raise wire.WireError(f"The message holds more than {most} samples.")
    plain = all(name == np.dtype(wire.DTYPES[name][1]).name for name, _ in told)
    values: Sequence[Any] = wire.unpack(data, tensors) if plain else wire.unpack_torch(data, tensors)
    return half(values[0] if len(values) == 1 else tuple(values))


def check_inputs(part: dict[str, Any], values: Sequence[Any], frozen: int | None) -> int:
    """How many samples are given, of what a half takes.

    Raises:
        wire.WireError: on other shapes, types or numbers.
    """
    told = [spec for spec in part["inputs"] if spec["role"] != "noise"]
    if len(values) != len(told):
        raise wire.WireError(f"The edge half takes {len(told)} tensors, not {len(values)}.")
    for spec, value in zip(told, values, strict=True):
        shape, dtype = np.shape(value), str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
        if dtype != spec["dtype"] or shape[1:] != tuple(spec["shape"]) or not shape:
            wanted = ", ".join(["N", *map(str, spec["shape"])])
            raise wire.WireError(
                f"The edge half takes {spec['name']} as {spec['dtype']}[{wanted}], not {dtype}{list(shape)}."
            )
    batches = {np.shape(value)[0] for value in values}
    if len(batches) > 1 or (frozen is not None and batches != {frozen}):
        wanted = "as many of each input" if frozen is None else f"exactly {frozen}"
        raise wire.WireError(f"The inputs are of {sorted(batches)} samples, the edge half takes {wanted}.")
    return int(batches.pop())


def program(module: Any) -> Half:
    """A torch module as a half: arrays become tensors; what it returns is returned."""
    import torch

    def tensors(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: tensors(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(tensors, value))
        return torch.as_tensor(value)

    def half(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return module(*tensors(args), **tensors(kwargs))

    return half


def session(plan: dict[str, Any], part: dict[str, Any], made: Any) -> Half:
    """An ONNX Runtime session as a half: arrays in, a list of arrays out."""
    taken = {entry.name for entry in made.get_inputs()}
    nesting = plan["arguments"][1] if part is plan["parts"][0] and plan["arguments"] else {}
    outputs = [spec["name"] for spec in part["outputs"]]

    def half(*args: Any, **kwargs: Any) -> list[Any]:
        ordered = sorted(kwargs, key=lambda name: list(nesting).index(name) if name in nesting else len(nesting))
        values = [np.asarray(value) for value in leaves((args, [kwargs[name] for name in ordered]))]
        feeds = dict(zip((spec["name"] for spec in part["inputs"]), values, strict=True))
        return list(made.run(outputs, {name: value for name, value in feeds.items() if name in taken}))

    return half


def leaves(value: Any) -> Iterator[Any]:
    """The tensors of nested containers, in order."""
    if isinstance(value, list | tuple | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value
