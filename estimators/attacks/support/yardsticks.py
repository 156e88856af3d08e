"""What an attack on labels must beat: chance, the commonest class, and training on the same labels without a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN, STEPS, RATE, DECAY = 256, 200, 2e-3, 0.05


def yardsticks(
    shown: Tensor, wanted: Tensor, private: Tensor, truth: Tensor, classes: int, seed: int
) -> dict[str, float]:
    """Shares of the private labels that are guessed right by who has no part of the model.

    Args:
        shown: `[m, ...]` the attacker's labelled inputs.
        wanted: `[m]` their labels.
        private: `[N, ...]` the private inputs, which no attacker has: it is told how much these labels teach of them.
        truth: `[N]` their labels.
        classes: how many there are.
        seed: of the network that is trained from scratch, a perceptron of one hidden layer.
    """
    commonest = float((truth == truth.mode().values).double().mean())
    found = {"chance": 1 / max(1, classes), "commonest": commonest}
    if len(shown) and len(torch.unique(wanted)) > 1:
        found["scratch"] = _from_scratch(shown, wanted, private, truth, classes, seed)
    return found


def said(found: dict[str, float]) -> str:
    """In words."""
    words = {"chance": "chance", "commonest": "the commonest class", "scratch": "training from scratch on its labels"}
    return "to compare: " + ", ".join(f"{words[name]} {share:.2f}" for name, share in found.items())


def _from_scratch(shown: Tensor, wanted: Tensor, private: Tensor, truth: Tensor, classes: int, seed: int) -> float:
    x = shown.flatten(1).float()
    mean, deviation = x.mean(0), x.std().clamp_min(1e-12)
    x = (x - mean) / deviation
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
        optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
        for _ in range(STEPS):
            optimiser.zero_grad()
            F.cross_entropy(network(x), wanted).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.no_grad():
        right = network((private.flatten(1).float() - mean) / deviation).argmax(1) == truth
    return float(right.double().mean())
