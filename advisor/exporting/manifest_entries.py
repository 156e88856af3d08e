"""What `plan.json` says of tensors, noise, parts, messages, files and what was found of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal

from pydantic import AfterValidator, FiniteFloat
from pydantic.dataclasses import dataclass

from advisor.estimate import Estimate, Number
from advisor.wire import MAX_RANK

Place = Literal["edge", "cloud"]

MOST_NOISE = 2**26
"""Elements that may be drawn for one sample: 3 GiB while they are made."""


def _sane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that memory can hold, as far as it can be told from the plan alone.

    Raises:
        ValueError: it has too many dimensions, or an extent below 0 or beyond 31 bits.
    """
    if len(shape) >= MAX_RANK or not all(0 <= extent < 2**31 for extent in shape):
        raise ValueError(f"no tensor has the shape {shape!s:.80}")
    return shape


def _drawable(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > MOST_NOISE:
        raise ValueError(f"noise of the shape {shape!s:.80} is too large")
    return shape


Shape = Annotated[tuple[int, ...], AfterValidator(_sane)]


@dataclass(frozen=True)
class NamedTensor:
    """A tensor that enters or leaves a half.

    Attributes:
        name: its name; in an ONNX file, that of the input or output.
        role: "input", "output", "noise", or what it is of an activation: "values", or "codes", "low" and "step".
        dtype: of its elements.
        shape: without the batch.
        batched: whether dimension 0 is the batch; false for an output that is no row a sample.
    """

    name: str
    role: str
    dtype: str
    shape: Shape
    batched: bool = True


@dataclass(frozen=True)
class Noise:
    """What the first part takes beside the model's inputs: independent draws, new ones for each call.

    Attributes:
        name: of the input; a keyword of a torch.export program.
        distribution: "standard normal" or "standard uniform".
        dtype: of its elements.
        shape: without the batch.
    """

    name: str
    distribution: Literal["standard normal", "standard uniform"]
    dtype: Literal["float32", "float64"]
    shape: Annotated[Shape, AfterValidator(_drawable)]


@dataclass(frozen=True)
class Freshness:
    """Whether two calls of the written edge differ as they should, drawn by the `edge.py` beside it.

    Attributes:
        elements: how many differences were taken, of that many pairs of calls on equal inputs.
        variance: of the noise, in squared units of the activation: half the mean squared difference.
        promised: what it was held against.
        level: two-sided significance at which it would have been refused.
        source: where the promise comes from.
    """

    elements: int
    variance: FiniteFloat
    promised: FiniteFloat
    level: FiniteFloat
    source: str


@dataclass(frozen=True)
class Attacked:
    """What an attack on the written edge's own messages left.

    Attributes:
        skipped: why there was none, or "".
        attack, budget: what was run; "" where none was.
        samples: private samples that it was scored on.
        scores: nmse, mse, ssim, psnr.
        notes: what should be said beside the numbers.
    """

    skipped: str = ""
    attack: str = ""
    budget: str = ""
    samples: int = 0
    scores: dict[str, Estimate] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartEntry:
    """One file that computes: its name, where it runs, what goes in and out."""

    name: str
    place: Place
    file: str
    inputs: tuple[NamedTensor, ...]
    outputs: tuple[NamedTensor, ...]


@dataclass(frozen=True)
class Crossing:
    """What is sent from one part to the next.

    Attributes:
        sender, receiver: names of parts.
        cut: where the model is cut.
        tensors: in the order in which they are packed.
        sample_bytes: elements of one sample, without the message's header.
        message_bytes: the whole message of one sample; None in schema 1, which did not tell.
    """

    sender: str
    receiver: str
    cut: str
    tensors: tuple[NamedTensor, ...]
    sample_bytes: int
    message_bytes: int | None = None


@dataclass(frozen=True)
class FileEntry:
    """Fingerprint and size of a file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Check:
    """What the comparison found.

    Attributes:
        runtime: what ran the files.
        batches: batch sizes that were compared.
        exact: whether every tensor agreed bit for bit.
        tolerance: allowed difference of each part, relative to the largest value; 0 where bits had to agree.
        max_abs_difference: of the model's outputs after all parts, in the output's unit; codes of a quantised wire that
            fell on the other side of a rounding step are part of it.
        top1_equal: share of samples whose highest score stayed the same; NaN where the output is no row of scores.
    """

    runtime: str
    batches: tuple[int, ...]
    exact: bool
    tolerance: FiniteFloat
    max_abs_difference: FiniteFloat
    top1_equal: Number
