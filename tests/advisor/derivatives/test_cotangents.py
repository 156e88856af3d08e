from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advisor.derivatives.cotangents import EXACT_ENDS_NOTE, _ends, with_exact_ends, with_reverse_mode
from advisor.derivatives.tangents import TangentEnergy, tangent_energies
from advisor.estimators.study.leakage_study import study
from advisor.graph import PartitionGraph
from advisor.tracing.tracer import trace


@torch.library.custom_op("advisor_tests::squared", mutates_args=())
def squared(x: Tensor) -> Tensor:
    return x.square()


squared.register_fake(torch.empty_like)
squared.register_autograd(
    lambda ctx, g: 2 * ctx.x * g, setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0])
)


@torch.library.custom_op("advisor_tests::opaque", mutates_args=())
def opaque(x: Tensor) -> Tensor:
    return x.square()


opaque.register_fake(torch.empty_like)


class Net(nn.Module):
    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.middle = nn.Linear(5, 7), nn.Linear(7, 3), middle

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


def measured(middle: Callable[[Tensor], Tensor], x: Tensor) -> tuple[PartitionGraph, dict[int, TangentEnergy]]:
    graph = trace(Net(middle).eval(), x[:2])
    return graph, with_reverse_mode(graph, [x], tangent_energies(graph, [x], 4, 0), 4, 0)


def test_it_agrees_with_the_jacobian_and_names_the_operator() -> None:
    x = torch.randn(600, 5, generator=torch.Generator().manual_seed(1))
    graph, found = measured(squared, x)
    plain = Net(torch.square).eval()
    exact = torch.func.vmap(torch.func.jacrev(plain))(x).detach().square().sum((1, 2)).mean()
    last = found[len(graph.cuts) - 1]
    assert float(last.energy.mean()) == pytest.approx(float(exact), rel=0.05)
    assert last.note == "reverse mode, as forward mode is not implemented for squared"
    assert last.problem == ""
    assert last.signal.numpy() == pytest.approx(plain(x).detach().double().square().sum(1).numpy(), rel=1e-4)
    assert found[1].note == ""  # forward mode got this far


def test_what_has_neither_mode_says_so() -> None:
    graph, found = measured(opaque, torch.rand(9, 5))
    problem = found[len(graph.cuts) - 1].problem
    assert problem.startswith("forward mode is not implemented for opaque (")
    assert "nor is reverse mode" in problem


def test_a_gradient_that_stops_is_not_taken_for_no_leakage() -> None:
    graph, found = measured(lambda x: squared(x.detach()), torch.rand(9, 5))
    assert "would not see through detach" in found[len(graph.cuts) - 1].problem
    graph, found = measured(lambda x: squared(x).round(), torch.rand(9, 5))
    assert "would not see through round" in found[len(graph.cuts) - 1].problem


def test_nothing_is_run_where_nothing_is_missing() -> None:
    x = torch.rand(9, 5)
    graph = trace(Net(torch.square).eval(), x[:2])
    energies = tangent_energies(graph, [x], 2, 0)
    assert with_reverse_mode(graph, [x], energies, 2, 0) is energies


def test_a_study_says_which_operator_it_went_round() -> None:
    x = torch.rand(60, 5, generator=torch.Generator().manual_seed(1))
    profile = study(trace(Net(squared).eval(), x[:2]), x, only=["fisher"]).profile
    assert not any(profile["fisher"].why)
    model = Net(squared)
    assert all(p.grad is None for p in model.parameters())
    method = profile["fisher"].method
    assert method.startswith("exact: every direction of the input")  # at the cuts that forward mode reached
    assert "squared" in method


def test_few_numbers_are_differentiated_one_by_one() -> None:
    """Three logits and seven hidden numbers: by three probes only the logits are exact, without any error."""
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    model = Net(torch.square).eval()
    graph = trace(model, x[:2])
    probed = tangent_energies(graph, [x], 3, 0)
    found = with_exact_ends(graph, [x], probed)
    last = len(graph.cuts) - 1
    exact = torch.func.vmap(torch.func.jacrev(model))(x).detach().double().square().sum((1, 2))
    torch.testing.assert_close(found[last].energy, exact[None], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found[last].signal, probed[last].signal, rtol=1e-5, atol=1e-7)
    assert found[last].note == EXACT_ENDS_NOTE
    assert [i for i in found if found[i] is not probed[i]] == [last]


def test_several_tensors_that_cross_are_differentiated_together() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.sum(1, keepdim=True).square(), 3 * x[:, :2]

    x = torch.randn(11, 5, generator=torch.Generator().manual_seed(1)).double()
    graph = trace(Pair(), x[:2])
    last = len(graph.cuts) - 1
    found = with_exact_ends(graph, [x], tangent_energies(graph, [x], 4, 0))[last]
    expected = 5 * (2 * x.sum(1)).square() + 2 * 9  # by hand
    torch.testing.assert_close(found.energy[0], expected)


def test_a_gradient_that_stops_leaves_the_probes_as_they_are() -> None:
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    graph = trace(Net(torch.detach).eval(), x[:2])
    probed = tangent_energies(graph, [x], 8, 0)
    found = with_exact_ends(graph, [x], probed)[len(graph.cuts) - 1]
    assert found.note == ""
    assert torch.equal(found.energy, probed[len(graph.cuts) - 1].energy)


def test_a_crossing_tensor_that_no_gradient_leaves_is_refused_beside_others() -> None:
    live, dead, whole = torch.ones(2, requires_grad=True) * 2, torch.ones(2), torch.ones(2, dtype=torch.long)
    assert _ends([live, whole]) == [live]
    for crossing in ([dead], [live, dead], [whole]):
        with pytest.raises(RuntimeError, match="no gradient reaches the input"):
            _ends(crossing)
