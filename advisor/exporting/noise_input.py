"""The randomness of an edge half as one more input of its file: the graph is then deterministic, and can be checked.

What a half draws with `torch.randn_like` and its kin is told by running it once; in the file that draw is a part of the
input `noise`, whose elements are independent and of one distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from advisor.errors import AdvisorError
from advisor.exporting.manifest_entries import Noise
from advisor.runtime.edge import NORMAL, UNIFORM

if TYPE_CHECKING:
    from torch.export import ExportedProgram

DRAWS: dict[Callable[..., Any], str] = {
    torch.randn_like: NORMAL, torch.randn: NORMAL, torch.rand_like: UNIFORM, torch.rand: UNIFORM,
    torch.bernoulli: UNIFORM,
}  # fmt: skip
"""What may become an input, and how it is distributed."""


@dataclass(frozen=True)
class Draw:
    """One draw of a half: distribution, shape without the batch, and dtype."""

    distribution: str
    shape: tuple[int, ...]
    dtype: torch.dtype


class _Told(TorchFunctionMode):
    """Notes every draw."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch, self.draws = batch, list[Draw]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in DRAWS:
            if not found.dim() or found.shape[0] != self.batch:
                raise AdvisorError(
                    f"The defense draws a tensor {list(found.shape)}, which is not one row a sample.",
                    "Draw with torch.randn_like of what is sent.",
                )
            self.draws.append(Draw(DRAWS[func], tuple(found.shape[1:]), found.dtype))
        return found


class _Given(TorchFunctionMode):
    """Gives the parts of a noise tensor instead of draws."""

    def __init__(self, draws: Sequence[Draw], noise: Tensor) -> None:
        super().__init__()
        self.parts = iter(_parts(draws, noise))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in DRAWS:
            return func(*args, **(kwargs or {}))
        part = next(self.parts)
        return (part < args[0]).to(args[0].dtype) if func is torch.bernoulli else part


class Noised(nn.Module):
    """A half that takes its draws as the keyword `noise`."""

    def __init__(self, half: nn.Module, draws: Sequence[Draw], name: str) -> None:
        super().__init__()
        self.inner, self.draws, self.name = half, tuple(draws), name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the half."""
        noise = kwargs.pop(self.name)
        with _Given(self.draws, noise):
            return self.inner(*args, **kwargs)


def draws_of(half: Callable[[], Any], batch: int) -> tuple[Draw, ...]:
    """What a half draws in one call with so many samples.

    Raises:
        AdvisorError: when that is not one row a sample.
    """
    with _Told(batch) as told, torch.no_grad():
        half()
    return tuple(told.draws)


def noise_of(draws: Sequence[Draw], taken: Sequence[str]) -> Noise | None:
    """The input that replaces these draws, under a name that no other input has; None where there are none.

    One draw keeps its shape; several lie one after the other in rows. Beside normal ones a uniform one is made of a
    normal by its distribution function.
    """
    if not draws:
        return None
    uniform = all(draw.distribution == UNIFORM for draw in draws)
    shape = draws[0].shape if len(draws) == 1 else (sum(math.prod(draw.shape) for draw in draws),)
    precise = any(draw.dtype == torch.float64 for draw in draws)
    name = "noise"
    while name in taken:
        name += "_"
    return Noise(name, UNIFORM if uniform else NORMAL, "float64" if precise else "float32", shape)


def _parts(draws: Sequence[Draw], noise: Tensor) -> list[Tensor]:
    """The draws that a noise tensor `[N, ...]` stands for, each `[N, ...]`."""
    mixed = any(draw.distribution == NORMAL for draw in draws)
    found, start = [], 0
    for draw in draws:
        part = noise
        if len(draws) > 1:
            size = math.prod(draw.shape)
            part = noise[:, start : start + size].reshape(noise.shape[0], *draw.shape)
            start += size
        if mixed and draw.distribution == UNIFORM:
            part = 0.5 * (1 + torch.erf(part / math.sqrt(2)))
        found.append(part.to(draw.dtype))
    return found


def check_deterministic(program: ExportedProgram, name: str) -> None:
    """Refuse a program that still draws by itself: runtimes seed that badly, and nobody could check it.

    Raises:
        AdvisorError: naming the operator.
    """
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise AdvisorError(
                    f"The {name} half draws with {node.target}, which cannot become an input of its file.",
                    "Draw with torch.randn_like, torch.rand_like or torch.bernoulli.",
                )
