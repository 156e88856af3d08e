"""The sweep: every cut is measured once, in order, with what really crosses; what cannot be measured says why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advisor.cut_view import ColumnSpec, CutView, Targets
from advisor.cuts import Cut
from advisor.derivatives.tangents import tangent_energies
from advisor.errors import AdvisorError, NotMeasurableError
from advisor.estimate import Estimate
from advisor.graph import PartitionGraph
from advisor.panel import PANEL_SAMPLES, panel_size
from advisor.sweep import Sheet, sweep
from advisor.tracing.tracer import trace
from tests.models import ZOO, call, traced

NAMES = list(ZOO)


def targets_of(rows: int) -> Targets:
    zeros = torch.zeros(rows, dtype=torch.int64)
    return Targets(torch.rand(rows, 3), False, zeros, False, torch.arange(rows - 1), torch.tensor([rows - 1]), 2)


@dataclass
class Recorder:
    """Keeps what it is shown and measures the mean."""

    columns: tuple[ColumnSpec, ...] = (ColumnSpec("mean", "z", "low", "measured", "mean of z"),)
    seen: list[CutView] = field(default_factory=list)

    def at(self, view: CutView) -> dict[str, Estimate]:
        self.seen.append(view)
        return {"mean": Estimate.exact(float(view.z.mean()))}


def swept(graph: PartitionGraph, x: tuple[Tensor, ...], *estimators: Recorder) -> dict[str, np.ndarray]:
    columns = sweep(graph, x, targets_of(len(x[0])), estimators)
    return {name: column.values for name, column in columns.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_is_shown_what_crosses(name: str) -> None:
    graph, recorder = traced(name), Recorder()
    x = graph.flat(ZOO[name].inputs(4))
    values = swept(graph, x, recorder)["mean"]
    for cut in graph.cuts:
        crossing = call(graph.split(cut)[0], ZOO[name].inputs(4))
        parts = crossing if isinstance(crossing, tuple) else (crossing,)
        flat = torch.cat([(torch.view_as_real(t) if t.is_complex() else t).reshape(4, -1).float() for t in parts], 1)
        assert values[cut.index] == pytest.approx(float(flat.mean()), abs=1e-6), cut.name


def test_a_reshape_is_not_measured_twice() -> None:
    graph, recorder = traced("chain"), Recorder()
    values = swept(graph, graph.flat(ZOO["chain"].inputs(4)), recorder)["mean"]
    assert [view.cut.name for view in recorder.seen] == ["input", "conv", "bn", "act", "pool", "output"]
    assert values[graph.cut("flatten").index] == values[graph.cut("pool").index]


def test_the_same_memory_in_another_dtype_is_measured() -> None:
    class Bits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 2).view(torch.int32)

    recorder = Recorder()
    graph = trace(Bits(), torch.rand(2, 4))
    swept(graph, (torch.rand(3, 4),), recorder)
    assert len(recorder.seen) == len(graph.cuts) == 3


def test_a_transpose_is_measured() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 2).transpose(1, 2)

    recorder = Recorder()
    graph = trace(Turned(), torch.rand(2, 3, 4))
    swept(graph, (torch.rand(3, 3, 4),), recorder)
    assert len(recorder.seen) == len(graph.cuts) == 3


def test_a_model_that_returns_its_input_has_two_cuts() -> None:
    graph = trace(nn.Identity(), torch.rand(2, 4))
    x = torch.rand(3, 4)
    assert swept(graph, (x,), Recorder())["mean"] == pytest.approx([float(x.mean())] * 2)


def test_outputs_in_any_order() -> None:
    """The second output is computed first: the cut is complete only when both are there."""
    graph, recorder = traced("towers"), Recorder()
    swept(graph, graph.flat(ZOO["towers"].inputs(3)), recorder)
    assert [len(view.tensors) for view in recorder.seen] == [2, 2]


def test_an_output_without_batch_is_nan_with_its_reason() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x).flatten() * 2

    graph, x = trace(Flat().eval(), torch.rand(2, 4)), torch.rand(5, 4)
    column = sweep(graph, (x,), targets_of(5), [Recorder()])["mean"]
    assert np.isnan(column.values).tolist() == [False, False, True]
    assert column.why == ("", "", "an output does not lead with the batch")
    assert tangent_energies(graph, (x,), 2, 0)[2].problem == "an output does not lead with the batch"


class Picky(Recorder):
    """Cannot measure vectors; of the rest, it says one number and forgets the other."""

    def at(self, view: CutView) -> dict[str, Estimate]:
        if len(view.cut.tensors[0].shape) == 1:
            raise NotMeasurableError("vectors have no corners")
        missing = Estimate(math.nan, method="the corner is round") if view.cut.name == "bn" else Estimate.exact(2.0)
        return {"corners": missing}


def test_what_cannot_be_measured_says_why() -> None:
    specs = (
        ColumnSpec("corners", "1", "low", "measured", "counted"),
        ColumnSpec("edges", "1", "low", "measured", "counted"),
    )
    graph = traced("chain")
    columns = sweep(graph, graph.flat(ZOO["chain"].inputs(4)), targets_of(4), [Picky(columns=specs)])
    assert np.isnan(columns["corners"].values).tolist() == [False, False, True, False, False, False, True]
    assert columns["corners"].why == ("", "", "the corner is round", "", "", "", "vectors have no corners")
    assert columns["edges"].why[1] == "not measured at this cut"
    assert columns["corners"].method == "counted"


def test_nan_in_a_crossing_tensor_is_not_measured() -> None:
    graph, x = traced("chain"), ZOO["chain"].inputs(4)
    x[0, 0, 0, 0] = math.nan
    column = sweep(graph, (x,), targets_of(4), [Recorder()])["mean"]
    assert set(column.why) == {"the activation holds NaN or infinities"}


def test_other_errors_of_an_estimator_are_not_hidden() -> None:
    class Breaks(Recorder):
        def at(self, view: CutView) -> dict[str, Estimate]:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        sweep(traced("chain"), traced("chain").flat(ZOO["chain"].inputs(4)), targets_of(4), [Breaks()])


def test_progress_rises_to_one_and_names_the_cut() -> None:
    told: list[tuple[float, str]] = []
    graph = traced("residual")
    x = graph.flat(ZOO["residual"].inputs(4))
    sweep(graph, x, targets_of(4), [Recorder(), Recorder()], progress=lambda *now: told.append(now))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[-1] == (1.0, "output")


def test_energies_seed_and_step_reach_the_view() -> None:
    graph, recorder = traced("half"), Recorder()
    x = graph.flat(ZOO["half"].inputs(4))
    energies = tangent_energies(graph, x, probes=2, seed=0)
    sweep(graph, x, targets_of(4), [recorder], energies=energies, seed=11)
    for view in recorder.seen:
        assert view.energy is energies[view.cut.index]
        assert view.seed == 11
        root_mean_square = float(view.tensors[0].double().square().mean().sqrt())
        assert view.wire_step == pytest.approx(torch.finfo(torch.float16).eps * root_mean_square, rel=1e-6)


def test_memory_does_not_grow_with_the_cuts() -> None:
    """No activation but the one before is kept alive by the sweep itself."""
    import weakref

    alive: list[weakref.ref[Tensor]] = []

    class Weak(Recorder):
        def at(self, view: CutView) -> dict[str, Estimate]:
            alive.append(weakref.ref(view.tensors[0]))
            assert sum(ref() is not None for ref in alive[1:]) <= 3
            return {"mean": Estimate.exact(0.0)}

    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(12))).eval()
    swept(trace(model, torch.rand(2, 4)), (torch.rand(3, 4),), Weak())
    assert len(alive) == 13


# ---- what views derive ----------------------------------------------------------------------------------------------


def test_gram_and_distances_are_those_of_the_definition() -> None:
    graph, recorder = traced("chain"), Recorder()
    swept(graph, graph.flat(ZOO["chain"].inputs(5)), recorder)
    view = recorder.seen[1]
    z = view.tensors[0].flatten(1).double()
    centred = z - z.mean(0)
    assert torch.allclose(view.gram, centred @ centred.T, atol=1e-4)
    assert torch.allclose(view.distances, torch.cdist(z, z), atol=1e-3)


def test_the_ceiling_is_the_error_of_the_mean() -> None:
    targets = targets_of(5)
    expected = (targets.pixels[4] - targets.pixels[:4].mean(0)).square().mean()
    assert float(targets.ceiling) == pytest.approx(float(expected))
    assert targets.elements == 3


def test_panels_are_bounded_by_memory_and_use(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = traced("chain")
    assert panel_size(graph, 40) == 40
    assert panel_size(graph, 10**6) == PANEL_SAMPLES
    monkeypatch.setattr("advisor.panel.PANEL_BYTES", 576 * 7)
    assert panel_size(graph, 40) == 7
    monkeypatch.setattr("advisor.panel.PANEL_BYTES", 1)
    assert panel_size(graph, 40) == 2


def test_sheets_repeat_their_last_row() -> None:
    graph = traced("chain")
    spec = ColumnSpec("mean", "z", "low", "measured", "mean of z")
    sheet = Sheet(graph.cuts[:3], [spec])
    view = CutView(graph.cuts[1], (torch.full((4, 2), math.inf),), targets_of(4), 1.0, 0)
    sheet.add(Recorder(), view)
    sheet.repeat()
    sheet.repeat()
    assert sheet.columns()["mean"].why == ("the activation holds NaN or infinities",) * 3


def test_not_measurable_is_of_the_family() -> None:
    assert issubclass(NotMeasurableError, AdvisorError)


def test_inner_products_of_a_large_activation_are_summed_part_by_part(monkeypatch):
    z = torch.randn(9, 40) + 3
    targets = Targets(z, False, torch.zeros(9, dtype=torch.long), False, torch.arange(6), torch.arange(6, 9), 1)
    whole = CutView(Cut(0, "c", (), "", "g"), (z,), targets, 0.0, 0).gram
    monkeypatch.setattr("advisor.cut_view.CENTRED_BYTES", 9 * 4 * 7)
    parts = CutView(Cut(0, "c", (), "", "g"), (z,), targets, 0.0, 0).gram
    exact = (z - z.mean(0)).double() @ (z - z.mean(0)).double().T
    assert torch.allclose(whole, exact, atol=1e-4)
    assert torch.allclose(parts, exact, atol=1e-4)
