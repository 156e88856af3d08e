"""The closed-form adversary against its slow definition: n regressions, each fitted without one sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from advisor.measures.kernel_ridge import joint_kernel, leave_one_out, leave_one_out_nmse, median_distance, shrunken


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def literal(kernel: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """Each row's residual under the regression on all other rows."""
    rows = []
    for i in range(len(kernel)):
        others = torch.tensor([j for j in range(len(kernel)) if j != i])
        inner = kernel[others][:, others] + penalty * torch.eye(len(others), dtype=kernel.dtype)
        rows.append(targets[i] - kernel[i, others] @ torch.linalg.solve(inner, targets[others]))
    return torch.stack(rows)


@pytest.mark.parametrize("penalty", [0.01, 0.5])
def test_leave_one_out_is_what_n_regressions_leave(penalty: float) -> None:
    kernel, targets = joint_kernel(normal(25, 6)), normal(25, 3, seed=1)
    assert torch.allclose(leave_one_out(kernel, targets, penalty), literal(kernel, targets, penalty), atol=1e-9)


def test_what_is_sent_in_full_is_recovered_and_noise_is_not() -> None:
    x = normal(200, 4)
    assert float(leave_one_out_nmse(x @ normal(4, 12, seed=2), x)) < 0.05
    assert float(leave_one_out_nmse(normal(200, 12, seed=3), x)) > 0.9


def test_a_curve_is_seen_by_the_gaussian_kernels_alone() -> None:
    angle = normal(300, 1)
    around, wanted = torch.cat([angle.cos(), angle.sin()], 1), (3 * angle).cos()
    assert float(leave_one_out_nmse(around, wanted)) < 0.2
    assert float(leave_one_out_nmse(around, wanted, scales=())) > 0.8


def test_a_bank_of_further_samples_only_helps_the_adversary() -> None:
    x = normal(300, 20)
    sent = torch.tanh(x @ normal(20, 40, seed=4)) + 0.3 * normal(300, 40, seed=5)
    alone = float(leave_one_out_nmse(sent[:60], x[:60]))
    assert float(leave_one_out_nmse(sent, x, rows=60)) < alone


def test_gradients_are_those_of_finite_differences() -> None:
    x = normal(12, 3)
    sent = (x @ normal(3, 5, seed=6)).requires_grad_()
    # the widths of the Gaussian kernels are no part of the gradient, so without them
    assert torch.autograd.gradcheck(lambda z: leave_one_out_nmse(z, x, scales=()), (sent,))


def test_descending_on_it_hides_the_input() -> None:
    """An encoder of two numbers that may choose: it stops sending what the adversary wants."""
    x = torch.cat([normal(128, 1), normal(128, 1, seed=7)], 1)
    weights = torch.tensor([[1.0, 0.2], [0.2, 1.0]], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([weights], 0.05)
    before = float(leave_one_out_nmse(x @ weights, x[:, :1]))
    for _ in range(60):
        optimiser.zero_grad()
        (-leave_one_out_nmse(x @ weights, x[:, :1]).clamp_max(1.0)).backward()
        optimiser.step()
    assert before < 0.1 < 0.5 < float(leave_one_out_nmse(x @ weights, x[:, :1]).detach())


def test_a_constant_payload_tells_nothing() -> None:
    assert float(leave_one_out_nmse(torch.full((50, 4), 3.0, dtype=torch.float64), normal(50, 2))) >= 0.99
    assert float(median_distance(torch.zeros(1, 1))) == 1


@pytest.mark.parametrize(
    ("shape", "columns"), [((5, 3, 32, 32), 3 * 16 * 16), ((5, 1, 8, 8), 64), ((5, 7), 7), ((5, 20000, 2), 16**3)]
)
def test_large_inputs_are_shrunken(shape: tuple[int, ...], columns: int) -> None:
    assert shrunken(torch.rand(shape)).shape == (5, columns)
