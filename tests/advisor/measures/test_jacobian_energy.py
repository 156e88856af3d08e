"""Probes of the Jacobian's energy against the Jacobian itself."""

from __future__ import annotations

import pytest
import torch

from advisor.measures.jacobian_energy import signal_normalised_energy


def test_many_probes_give_the_trace_over_the_signal() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, generator=draw, dtype=torch.float64).requires_grad_()
    weights = torch.randn(6, 5, generator=draw, dtype=torch.float64).requires_grad_()
    payload = torch.tanh(x @ weights)
    found = signal_normalised_energy(x, (payload,), probes=4000, generator=draw)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda row: torch.tanh(row @ weights), x[i].detach())
        wanted = float(jacobian.square().sum() / payload[i].detach().square().sum())
        assert float(found[i].detach()) == pytest.approx(wanted, rel=0.1)
    (gradient,) = torch.autograd.grad(found.sum(), weights)
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().max()) > 0


def test_a_linear_payload_of_one_number_needs_one_probe() -> None:
    x = torch.randn(3, 4, dtype=torch.float64).requires_grad_()
    row = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    payload = (x * row).sum(1, keepdim=True)
    found = signal_normalised_energy(x, (payload,))
    assert torch.allclose(found, 30.0 / payload[:, 0].square())
