"""Derivatives in every direction against whole Jacobians: no error but that of rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advisor.derivatives.exact_tangents import EXACT_ELEMENTS, EXACT_NOTE, exact_energies, unit_directions
from advisor.estimators.fisher import fisher_information, signal_normalised
from advisor.estimators.study.leakage_study import study
from advisor.estimators.study.study_derivatives import MOST_PROBES
from advisor.tracing.tracer import trace
from tests.models import ZOO, traced


class Curved(nn.Module):
    def __init__(self, inputs: int = 6, outputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(inputs, 30), nn.Linear(30, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b.sum(1, keepdim=True)


def samples(n: int, d: int = 6) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("chunk", [64, 4, 1])
def test_every_sample_has_the_trace_of_its_own_jacobian(chunk: int) -> None:
    model, x = Curved().eval(), samples(20)
    graph = trace(model, x[:2])
    found = exact_energies(graph, [x], chunk=chunk)[len(graph.cuts) - 1]
    exact = torch.func.vmap(torch.func.jacrev(model))(x).detach().double().square().sum((1, 2))
    torch.testing.assert_close(found.energy, exact[None], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.signal, model(x).detach().double().square().sum(1), rtol=1e-5, atol=1e-7)
    assert (found.elements, found.note, found.problem) == (6, EXACT_NOTE, "")


def test_two_inputs_are_one_vector() -> None:
    a, b = samples(9, 3), samples(9, 5)
    graph = trace(Two(), (a[:2], b[:2]))
    found = exact_energies(graph, [a, b])[len(graph.cuts) - 1]
    expected = 3 * b.sum(1).double().square() + 5 * a.double().square().sum(1)  # by hand
    torch.testing.assert_close(found.energy[0], expected, rtol=1e-5, atol=1e-6)


def test_an_input_of_integers_has_no_directions() -> None:
    first, second = unit_directions([torch.zeros(4, 2, 2), torch.zeros(4, 7, dtype=torch.long)])
    assert second is None
    assert first is not None
    assert torch.equal(first.flatten(1), torch.eye(4))


def test_a_linear_model_leaves_no_spread_at_all() -> None:
    """Tr(WᵀW)/d is the same for every input: its standard error is 0, as nothing was drawn."""
    layer, x = nn.Linear(6, 10).double(), samples(30).double()
    graph = trace(layer, x[:2])
    estimate = fisher_information(exact_energies(graph, [x])[1])
    assert estimate.value == pytest.approx(float(layer.weight.detach().square().sum()) / 6, rel=1e-12)
    assert estimate.stderr == pytest.approx(0, abs=1e-12)
    assert estimate.low == pytest.approx(estimate.high)


@pytest.mark.parametrize("name", ["chain", "attention", "recurrent", "hard_batch", "towers"])
def test_it_is_the_limit_of_probes_on_nasty_nets(name: str) -> None:
    graph, x = traced(name), traced(name).flat(ZOO[name].inputs(2))
    parts = [exact_energies(graph, x, chunk=chunk) for chunk in (64, 7)]
    for cut in graph.cuts:
        whole, pieces = (part[cut.index] for part in parts)
        assert whole.problem == pieces.problem
        if not whole.problem:
            assert torch.allclose(whole.energy, pieces.energy, rtol=1e-4)


def test_small_inputs_are_studied_exactly_and_large_ones_by_probes() -> None:
    for elements in (EXACT_ELEMENTS, EXACT_ELEMENTS + 1):
        model, x = Curved(elements, MOST_PROBES + 1).eval(), samples(40, elements)
        graph = trace(model, x[:2])
        found = study(graph, x, only=["fisher", "fisher_snr"], seed=0)
        exact = exact_energies(graph, [x])[len(graph.cuts) - 1]
        same = abs(found.profile["fisher"].at(len(graph.cuts) - 1).value / fisher_information(exact).value - 1) < 1e-6
        assert same is (elements == EXACT_ELEMENTS)
        exactly = elements == EXACT_ELEMENTS
        assert found.profile["fisher"].method.startswith(EXACT_NOTE if exactly else "Tr(JᵀJ)/d, Hutchinson probes")
        if same:
            assert found.profile["fisher_snr"].values[-1] == pytest.approx(signal_normalised(exact).value, rel=1e-6)
