"""Energy of the Jacobian from input to payload by random probes, differentiable in the encoder's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from advisor.measures.flat_rows import flat


def signal_normalised_energy(
    inputs: Tensor, payload: Sequence[Tensor], probes: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Tr(JᵀJ)/‖z‖² of each sample, which ReFIL's SNR loss makes small (Maeng et al., NeurIPS 2023, equation 6).

    With Rademacher probes u on the payload, E‖Jᵀu‖² = Tr(JJᵀ) (Hutchinson 1989).

    Args:
        inputs: `[n, ...]`, requires grad; the payload was computed from it.
        payload: tensors `[n, ...]`.
        probes: averaged.
        generator: of the probes; None: torch's own.

    Returns:
        `[n]`, in 1/x²; differentiable.
    """
    energy = inputs.new_zeros(len(inputs))
    for _ in range(probes):
        signs = [
            torch.randint(0, 2, z.shape, generator=generator, device=z.device).to(z.dtype) * 2 - 1 for z in payload
        ]
        projected = torch.stack([(z * u).sum() for z, u in zip(payload, signs, strict=True)]).sum()
        (found,) = torch.autograd.grad(projected, inputs, create_graph=True)
        energy = energy + flat(found).square().sum(1) / probes
    signal = torch.stack([flat(z).square().sum(1) for z in payload]).sum(0)
    return energy / signal.clamp_min(1e-12)
