"""Dimension 0 is checked to be the sample: what mixes samples, draws, or remembers is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import advisor
from advisor.errors import DataError, TraceError
from advisor.tracing.independence import close
from advisor.tracing.tracer import trace

Forward = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """A layer before, a forward of its own, a layer after."""

    def __init__(self, function: Forward, **members: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function, self.a, self.b = function, nn.Linear(6, 8), nn.Linear(8, 3)
        for name, member in members.items():
            if isinstance(member, Tensor):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def vectors(n: int = 4) -> Tensor:
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(n))


# ---- samples that depend on each other ------------------------------------------------------------------------------

MIXING: dict[str, tuple[Forward, dict[str, Any], str]] = {
    "standardised by the batch": (lambda s, x: s.b(s.a(x) - s.a(x).mean(0)), {}, "sub mixes"),
    "batch statistics": (lambda s, x: s.b(s.n(s.a(x))), {"n": nn.BatchNorm1d(8, track_running_stats=False)},
                         r"batch_norm \(n\) mixes.*track_running_stats=True"),
    "batch norm by hand in training mode": (lambda s, x: s.b(F.batch_norm(s.a(x), None, None, training=True)), {},
                                            r"batch_norm mixes.*test_independence\.py:\d+"),
    "a running sum": (lambda s, x: s.b(s.a(x).cumsum(0)), {}, "cumsum mixes"),
    "sorted over the batch": (lambda s, x: s.b(s.a(x).sort(0)[0]), {}, "sort mixes"),
    "ordered by a score": (lambda s, x: s.b(s.a(x)[s.a(x).sum(1).argsort()]), {}, "mixes"),
    "turned around": (lambda s, x: s.b(s.a(x).flip(0)), {}, "flip mixes"),
    "attention over the batch": (lambda s, x: s.b(F.softmax(s.a(x) @ s.a(x).T, 1) @ s.a(x)), {}, "mixes them at"),
    "compared in the batch": (lambda s, x: F.normalize(s.a(x)) @ F.normalize(s.a(x)).T, {}, "mixes them at"),
    "gated by the batch's mean": (lambda s, x: s.b(s.a(x) * torch.sigmoid(s.a(x).mean())), {}, "mul mixes"),
    "divided by the number of samples": (lambda s, x: s.b(s.a(x) / x.shape[0]), {}, "div mixes"),
    "normalised by the largest of the batch": (lambda s, x: s.b(s.a(x) / s.a(x).abs().amax()), {}, "div mixes"),
    "mixed only in the last of two outputs": (lambda s, x: (s.b(s.a(x)), s.a(x) - s.a(x)[:1]), {}, "sub mixes"),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_samples_that_depend_on_each_other_are_refused(name: str) -> None:
    function, members, reason = MIXING[name]
    with pytest.raises(TraceError, match=f"depends on the others of its batch: .*{reason}") as caught:
        trace(Net(function, **members).eval(), vectors())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_that_take_time_first_are_refused(kind: type[nn.Module]) -> None:
    model = nn.Sequential()
    model.add_module("r", kind(6, 8))
    with pytest.raises(TraceError, match=r"(lstm|gru|rnn_tanh) \(r.* mixes them.*Pass batch_first=True"):
        trace(model.eval(), torch.rand(5, 2, 6))


def test_transformers_that_take_time_first_are_refused() -> None:
    with pytest.raises(TraceError, match="depends on the others of its batch"):
        trace(nn.TransformerEncoderLayer(8, 2, 16).eval(), torch.rand(5, 2, 8))


def test_a_loop_over_time_that_leads_is_refused_with_its_line() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h, out = torch.zeros(x.shape[1], 8), []
            for t in range(x.shape[0]):
                h = (self.a(x[t]) + h).tanh()
                out.append(self.b(h))
            return torch.stack(out)

    with pytest.raises(TraceError, match=r"stack mixes them at test_independence\.py:\d+ \(return torch\.stack\(out\)"):
        trace(Loop().eval(), torch.rand(7, 2, 6))


def test_the_first_row_alone_proves_nothing() -> None:
    """Row 0 of a sum over time is row 0 itself, and an example of zeros hides all."""
    with pytest.raises(TraceError, match="cumsum mixes"):
        trace(Net(lambda s, x: s.b(s.a(x).cumsum(0))).eval(), torch.zeros(2, 6))


def test_half_precision_has_its_own_limit() -> None:
    graph = trace(Net(lambda s, x: s.b(s.a(x).relu())).bfloat16().eval(), vectors().bfloat16())
    assert len(graph.cuts) > 2
    with pytest.raises(TraceError, match="sub mixes"):
        trace(Net(lambda s, x: s.b(s.a(x) - s.a(x).mean(0))).bfloat16().eval(), vectors().bfloat16())


# ---- what is random, or remembers ----------------------------------------------------------------------------------

RANDOM: dict[str, tuple[Forward, dict[str, Any], str]] = {
    "dropout that is always on": (lambda s, x: s.b(F.dropout(s.a(x), 0.3)), {}, r"dropout draws.*self\.training"),
    "dropout that hardly ever strikes": (lambda s, x: s.b(F.dropout(s.a(x), 1e-9)), {}, "dropout draws"),
    "channels dropped": (lambda s, x: s.b(F.alpha_dropout(s.a(x), 0.3, training=True)), {}, "alpha_dropout draws"),
    "noise": (lambda s, x: s.b(s.a(x) + 1e-6 * torch.randn(x.shape[0], 8)), {}, "randn draws"),
    "noise like a tensor": (lambda s, x: s.b(s.a(x) + torch.rand_like(s.a(x))), {}, "rand_like draws"),
    "an order that is drawn": (lambda s, x: s.b(s.a(x)[:, torch.randperm(8)]), {}, "randperm draws"),
    "attention with dropout": (
        lambda s, x: s.b(F.scaled_dot_product_attention(*[s.a(x)[:, None]] * 3, dropout_p=0.5)[:, 0]), {},
        "scaled_dot_product_attention draws"),
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_model_is_refused(name: str) -> None:
    function, members, reason = RANDOM[name]
    with pytest.raises(TraceError, match=f"is random, two runs on the same input differ: {reason}"):
        trace(Net(function, **members).eval(), vectors())


def test_numbers_drawn_in_python_are_noticed() -> None:
    import random

    with pytest.raises(TraceError, match=r"Two runs of Net on the same input differ.*It draws in Python"):
        trace(Net(lambda s, x: s.b(s.a(x)) * random.random()).eval(), vectors())


def test_a_branch_that_is_drawn_in_python_is_noticed_where_two_runs_are_equal() -> None:
    import random

    branches = [True] * 4 + [False] + [True] * 20

    def drawn(s: Any, x: Tensor) -> Tensor:
        random.random()
        return s.b(s.a(x)) if branches.pop(0) else -s.b(s.a(x))

    with pytest.raises(TraceError, match=r"Two runs of Net on the same input differ.*It draws in Python"):
        trace(Net(drawn).eval(), vectors())


@pytest.mark.parametrize("draw", [np.random.rand, torch.rand], ids=["numpy", "torch"])
def test_what_is_drawn_for_nothing_is_said(draw: Callable[[int], Any]) -> None:
    graph = trace(Net(lambda s, x: (draw(1), s.b(s.a(x)))[1]).eval(), vectors())
    assert "draws random numbers that no operation of its graph needs; 7 runs" in graph.notes[-1]


class Stays(nn.Dropout):
    """Dropout that is never switched off: the published way to draw several answers."""

    def train(self, mode: bool = True) -> Stays:
        return super().train(True)


def test_what_the_owner_left_training_stays_so() -> None:
    model = nn.Sequential(nn.Linear(6, 8), Stays(0.3), nn.Linear(8, 3))
    with pytest.raises(TraceError, match=r"is random, .*dropout \(1\) draws"):
        trace(model.eval(), vectors())
    normed = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()
    normed[1].train()
    with pytest.raises(TraceError, match=r"batch_norm \(1\) mixes them"):
        trace(normed, vectors())
    assert normed[1].training
    assert not normed.training
    graph = trace(nn.Sequential(nn.Linear(6, 8), Stays(0.3), nn.Linear(8, 3)).train(), vectors())
    assert graph.notes == (
        "Stays has a train() of its own, which was not asked: nothing in the graph trains. "
        "Call model.eval() first to have what that leaves on.",
    )


def _average(self: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        self.mean.mul_(0.9).add_(0.1)
    return self.b(self.a(x) - self.mean)


def test_a_state_that_decides_is_refused_and_put_back() -> None:
    model = Net(_average, mean=torch.zeros(8)).eval()
    with pytest.raises(TraceError, match=r"depends on the calls before: .*'mean' at test_indep"):
        trace(model, vectors())
    assert not model.mean.any()


def test_a_state_in_an_attribute_is_noticed_and_put_back() -> None:
    def remember(self: Any, x: Tensor) -> Tensor:
        h = self.a(x).tanh() + self.state
        self.state = self.state + 1.0
        return self.b(h)

    model = Net(remember).eval()
    model.state = torch.zeros(8)
    with pytest.raises(TraceError, match=r"Two runs of Net .* differ|depends on the calls before"):
        trace(model, vectors())
    assert not model.state.any()


def test_a_count_that_decides_nothing_is_said() -> None:
    def count(self: Any, x: Tensor) -> Tensor:
        self.calls += 1
        return self.b(self.a(x))

    model = Net(count, calls=torch.zeros(())).eval()
    graph = trace(model, vectors())
    assert graph.notes == (f"The forward writes to {graph.writes[0]}; the halves do not.",)
    assert graph.writes[0].startswith("'calls' at test_independence.py:")
    assert int(model.calls) == 0


def test_a_table_with_a_largest_norm_is_traced_and_put_back() -> None:
    model = nn.Sequential(nn.Embedding(20, 6, max_norm=0.1), nn.Flatten(), nn.Linear(30, 3)).eval()
    weight, ids = model[0].weight.detach().clone(), torch.randint(0, 20, (4, 5))
    graph = trace(model, ids)
    assert torch.equal(model[0].weight, weight)
    edge, cloud = graph.split(1)
    with torch.no_grad():
        assert torch.allclose(cloud(edge(ids)), model(ids))


def test_a_table_that_the_forward_computes_tells_its_rows() -> None:
    def looked_up(s: Any, ids: Tensor) -> Tensor:
        return s.b(F.embedding(ids, s.low @ s.rank).mean(1))

    model = Net(looked_up, low=torch.rand(20, 2), rank=torch.rand(2, 8)).eval()
    assert trace(model, torch.zeros(2, 5, dtype=torch.int64)).notes == ()


# ---- what is one for the whole batch ---------------------------------------------------------------------------------


def test_an_output_without_rows_is_refused_or_said() -> None:
    with pytest.raises(TraceError, match=r"depends on the others of its batch: mean mixes them at test_indep"):
        trace(Net(lambda s, x: s.b(s.a(x).mean(0))).eval(), vectors())
    graph = trace(Net(lambda s, x: (s.b(s.a(x)), s.a(x).square().mean())).eval(), vectors())
    assert graph.notes[0].startswith("An output is one for the whole batch, not one a sample: mean at test_indep")


def test_what_reads_all_samples_is_said_where_it_makes_no_difference() -> None:
    graph = trace(Net(lambda s, x: s.b(s.a(x)) + F.relu(x.sum() - 1000)).eval(), vectors())
    assert graph.notes[0].startswith("sum at test_independence.py:")
    assert "reads all samples at once; with random ones that made no difference" in graph.notes[0]


@pytest.mark.parametrize("turned", [False, True])
def test_a_loss_beside_the_scores_is_no_row_of_a_sample(turned: bool) -> None:
    """TabNet returns its sparsity so: halves return it, and nobody attacks or judges by it."""

    def forward(self: Any, x: Tensor) -> Any:
        hidden = self.a(x).relu()
        both = self.b(hidden), hidden.square().mean()
        return both[::-1] if turned else both

    model, x = Net(forward).eval(), vectors(24)
    graph = trace(model, vectors())
    assert [spec.shape for spec in graph.cuts[-1].tensors] == [(3,)]
    for edge, cloud in map(graph.split, graph.cuts):
        assert all(map(torch.equal, cloud(edge(x)), model(x)))
    score = advisor.leakage(graph, x, only=["score"])["score"]
    assert not np.isnan(score.values).any()
    assert 0 < advisor.attack(graph, "output", x).nmse < 1.5
    assert advisor.accuracy(graph, x).value == 1


def test_an_output_without_rows_is_refused_where_samples_are_sent_through() -> None:
    graph = trace(Net(lambda s, x: s.b(s.a(x)).flatten()).eval(), vectors())
    with pytest.raises(DataError, match=r"returns, of shape \(72,\), has no row for each sample\. Return it as \[N"):
        advisor.accuracy(graph, vectors(24))


def test_samples_side_by_side_in_one_dimension_are_compared() -> None:
    assert trace(Net(lambda s, x: s.b(s.a(x)).flatten()).eval(), vectors()).notes == ()
    assert trace(Net(lambda s, x: s.b(s.a(x)).T.flatten()).eval(), vectors()).notes == ()
    with pytest.raises(TraceError, match="softmax mixes them"):
        trace(Net(lambda s, x: s.b(s.a(x)).flatten().softmax(0)).eval(), vectors())


# ---- programs that were saved while training ------------------------------------------------------------------------


def trained(last: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), last, nn.Flatten(), nn.Linear(64, 5)).train()


@pytest.mark.parametrize(("last", "reason"), [(nn.BatchNorm2d(4), "batch_norm"), (nn.Dropout(0.5), "dropout")])
@pytest.mark.parametrize("kind", ["pt2", "frozen pt2", "torchscript"])
def test_a_file_saved_in_training_mode_is_refused(last: nn.Module, reason: str, kind: str, tmp_path: Path) -> None:
    model, x = trained(last), torch.rand(4, 1, 6, 6)
    if kind == "torchscript":
        torch.jit.save(torch.jit.trace(model, x, check_trace=False), path := tmp_path / "m.pts")
    else:
        shapes = ({0: torch.export.Dim.DYNAMIC},) if kind == "pt2" else None
        torch.export.save(torch.export.export(model, (x,), dynamic_shapes=shapes), path := tmp_path / "m.pt2")
    with pytest.raises(TraceError, match=rf"{reason}.*call model\.eval\(\) before"):
        trace(path)


def test_instance_statistics_saved_in_training_mode_are_said(tmp_path: Path) -> None:
    model, x = trained(nn.InstanceNorm2d(4, track_running_stats=True)), torch.rand(4, 1, 6, 6)
    torch.export.save(torch.export.export(model, (x,)), path := tmp_path / "m.pt2")
    assert any("saved in training mode, whose numbers are others: call model.eval()" in n for n in trace(path).notes)


# ---- what must not be refused ---------------------------------------------------------------------------------------


def _masked(self: Any, x: Tensor) -> Tensor:
    scores = (self.a(x)[:, :, None] @ self.a(x)[:, None]).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf)
    return torch.cat([self.b(torch.softmax(scores, -1).mean(1)), scores.flatten(1)], 1)


def _last_of_each(self: Any, x: Tensor) -> Tensor:
    parts = self.a(x).reshape(x.shape[0], 4, 2)
    places = torch.arange(x.shape[0]) * 4 + parts.sum(2).argmax(1)
    return parts.reshape(-1, 2)[places]


SOUND: dict[str, tuple[Forward, dict[str, Any]]] = {
    "ties": (lambda s, x: F.one_hot((s.a(x) * 0).argmax(1), 8).float(), {}),
    "codes": (lambda s, x: s.b(s.book[torch.cdist(s.a(x), s.book).argmin(1)]), {"book": torch.rand(64, 8)}),
    "the best two of many equal ones": (lambda s, x: s.b(s.a(x).round().topk(2)[1].float() @ torch.ones(2, 8)), {}),
    "infinities": (_masked, {}),
    "numbers that are none": (lambda s, x: torch.where(x > 2, x.log(), torch.nan), {}),
    "places in the batch": (_last_of_each, {}),
    "instance statistics": (lambda s, x: s.n(s.a(x)[:, None]), {"n": nn.InstanceNorm1d(1, track_running_stats=True)}),
    "a hidden state that is returned": (lambda s, x: s.r(s.a(x)[:, None])[1], {"r": nn.GRU(8, 3, batch_first=True)}),
    "time first within": (lambda s, x: s.r(s.a(x).reshape(-1, 2, 4).transpose(0, 1))[0].mean(0), {"r": nn.LSTM(4, 3)}),
    "spectral norm": (lambda s, x: s.n(s.a(x)), {"n": nn.utils.parametrizations.spectral_norm(nn.Linear(8, 2))}),
    "large numbers": (lambda s, x: s.b(s.a(x * 1e8)), {}),
    "a deep chain": (lambda s, x: s.d(s.a(x)), {"d": nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.ReLU())
                                                                    for _ in range(30)])}),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_model_that_computes_by_sample_is_taken(name: str) -> None:
    function, members = SOUND[name]
    model, x = Net(function, **members).eval(), vectors(5)
    graph = trace(model, x)
    edge, cloud = graph.split(len(graph.cuts) // 2)
    with torch.no_grad():
        assert torch.equal(cloud(edge(x)).nan_to_num(7.0), model(x).nan_to_num(7.0))


def test_nothing_finite_is_no_proof() -> None:
    graph = trace(Net(lambda s, x: (-s.b(s.a(x)).abs() - 1).log()).eval(), vectors())
    assert "no finite number for random samples: whether samples mix could not be checked" in graph.notes[-1]


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_masks_of_one_value_stay_as_they_are(dtype: torch.dtype) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.layer = nn.Embedding(20, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return self.layer(self.words(ids), src_key_padding_mask=mask == 0)[:, 0]

    assert trace(Masked().eval(), (torch.zeros(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=dtype))).notes == ()


def test_the_check_costs_six_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x) if type(x) is Tensor else 0)
            return x.relu()

    from advisor.graph import PartitionGraph

    runs: list[int] = []
    plain = PartitionGraph.run
    monkeypatch.setattr(PartitionGraph, "run", lambda self, x, **rest: runs.append(len(x[0])) or plain(self, x, **rest))
    trace(Counted().eval(), torch.rand(2, 3))
    assert [n for n in calls if n] == [3, 3]
    assert sorted(runs) == [1, 1, 1, 3]


# ---- the comparison -------------------------------------------------------------------------------------------------


def test_close_takes_no_nan_for_a_number() -> None:
    x = torch.tensor([1.0, torch.nan, torch.inf])
    assert close(x, x.clone(), 0.0, x)
    assert not close(x, torch.tensor([1.0, 2.0, torch.inf]), 1e9, x)
    assert not close(torch.tensor([1.0, torch.nan, 5.0]), x, 1e9, x)
    assert close(torch.tensor([100.009]), torch.tensor([100.0]), 1e-4, torch.tensor([100.0]))
    assert not close(torch.tensor([100.011]), torch.tensor([100.0]), 1e-4, torch.tensor([100.0]))
    assert not close(torch.tensor([1]), torch.tensor([2]), 1e9, torch.tensor([2]))
    assert not close(torch.zeros(1), torch.zeros(2), 1.0, torch.zeros(2))


# ---- more samples than the exporter vouches for ---------------------------------------------------------------------


def by_number(otherwise: Callable[[Tensor], Tensor]) -> Net:
    return Net(lambda s, x: s.b(s.a(x).relu() if x.shape[0] <= 16 else otherwise(s.a(x))))


def in_parts(x: Tensor) -> Tensor:
    return torch.cat([part.relu() for part in x.split(16)])


def not_so_many(x: Tensor) -> Tensor:
    raise ValueError("too many samples")


def test_a_model_that_computes_something_else_for_more_samples_is_refused() -> None:
    with pytest.raises(TraceError, match=r"Net computes something else for more than 16 samples at once"):
        trace(by_number(torch.tanh), vectors())


def test_a_model_that_goes_another_way_for_more_samples_but_to_the_same_end_is_taken() -> None:
    model = by_number(in_parts)
    graph = trace(model, vectors())
    assert graph.notes == ()
    assert torch.equal(graph(vectors(40)), model(vectors(40)))


def test_that_a_model_takes_no_more_samples_is_said() -> None:
    assert trace(by_number(not_so_many), vectors()).notes == (
        "Net takes at most 16 samples at once; its halves take any number.",
    )


def test_that_a_program_was_exported_for_few_samples_is_said() -> None:
    program = torch.export.export(by_number(in_parts), (vectors(),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    assert "exported for at most 16 samples at once" in " ".join(trace(program).notes)
