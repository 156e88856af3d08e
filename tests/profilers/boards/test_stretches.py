from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from advisor.errors import AdvisorError
from advisor.profilers.boards.prepare import entering, one_sample
from advisor.profilers.boards.stretches import Stretches
from advisor.tracing.tracer import trace
from tests.models import ZOO, equal, traced

NAMES = [name for name, specimen in ZOO.items() if specimen.cuts and traced(name).fixed_batch is None]


def several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


@pytest.mark.parametrize("name", NAMES)
def test_a_stretch_computes_what_the_module_does(name: str) -> None:
    graph = traced(name)
    made, last = Stretches(graph), len(graph.cuts) - 1
    with torch.no_grad():
        carried = [entering(graph, one_sample(graph))]
        for i in range(1, last + 1):
            expected = graph.piece(i)(*carried[-1])
            assert equal(made.between(i - 1, i)(*carried[-1]), expected)
            carried.append(several(expected))
        for i in range(1, last + 1):
            assert equal(made.between(0, i)(*carried[0]), graph.piece(i, 0)(*carried[0]))
            assert equal(made.between(i - 1, last)(*carried[i - 1]), graph.piece(last, i - 1)(*carried[i - 1]))


def test_values_are_dropped_after_their_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many live at once as in a chain that keeps nothing."""
    graph = trace(nn.Sequential(*(nn.ReLU() for _ in range(6))).eval(), torch.zeros(2, 4))
    alive: list[int] = []
    real = torch.ops.aten.relu.default

    def counted(x: torch.Tensor) -> torch.Tensor:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        alive.append(sum(isinstance(v, torch.Tensor) for v in frame.f_back.f_locals.values()))
        return real(x)

    part = Stretches(graph).between(0, 6)
    line = part.func.__code__.co_names
    assert "relu" in line
    monkeypatch.setattr(torch.ops.aten.relu, "default", counted)
    part(torch.zeros(1, 4))
    assert alive == [1] * 6


def test_a_line_that_is_not_understood_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.zeros(2, 4))
    real = torch.fx.Graph.python_code

    def folded(self: torch.fx.Graph, *args: Any, **options: Any) -> Any:
        code = real(self, *args, **options)
        code.src = code.src.replace("linear = ", "# more\n    linear = ")
        return code

    monkeypatch.setattr(torch.fx.Graph, "python_code", folded)
    with pytest.raises(AdvisorError, match=r"is no line of code"):
        Stretches(graph)
