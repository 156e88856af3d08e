"""Made-up plans, so that choosing is tested without a model."""

from __future__ import annotations

import math

from advisor.cuts import Cut, TensorSpec
from advisor.defenses import Defense, NoDefense
from advisor.estimate import Estimate
from advisor.plans import Plan


def a_plan(
    name: str = "a",
    *,
    latency: float = 0.01,
    score: float = 0.8,
    ssim: float = 0.1,
    drop: float = 0.0,
    memory: float = 1e6,
    spread: float = 0.0,
    defense: Defense | None = None,
    verified: float | None = None,
) -> Plan:
    """A plan at a cut of this name, its score and SSIM with a symmetric interval of half-width `spread`."""
    predicted = {
        "latency": Estimate.exact(latency, "s"),
        "edge_memory": Estimate.exact(memory, "B"),
        "accuracy_drop": Estimate.exact(drop) if not math.isnan(drop) else Estimate(math.nan),
        "score": Estimate(score, spread, score - spread, score + spread),
        "score_ssim": Estimate(ssim, spread, ssim - spread, ssim + spread),
    }
    evidence = {} if verified is None else {"nmse": Estimate.exact(verified)}
    return Plan((Cut(1, name, (TensorSpec((4,), "float32"),)),), defense or NoDefense(), predicted, evidence)
