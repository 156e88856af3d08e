"""Trained defenses by name: one method a file."""

from __future__ import annotations

from advisor.defenses.training.base import TrainedDefense
from advisor.registry import Registry

_BUILT_IN: dict[str, str] = {
    "tuned": "advisor.defenses.methods.tuned:NoiseAware",
    "bottleneck": "advisor.defenses.methods.bottleneck:Bottleneck",
    "refil": "advisor.defenses.methods.refil:Refil",
    "infoscissors": "advisor.defenses.methods.infoscissors:InfoScissors",
    "mid": "advisor.defenses.methods.mid:Mid",
    "adversarial": "advisor.defenses.methods.adversarial:Adversarial",
    "ridge": "advisor.defenses.methods.ridge:Ridge",
    "tuned-bare": "advisor.defenses.methods.tuned:TunedBare",
    "local-head": "advisor.defenses.methods.local_head:LocalHead",
}
"""One more is one more file here and one more line."""


def _made(found: object) -> TrainedDefense:
    member = found() if isinstance(found, type) else found
    if not isinstance(member, TrainedDefense):
        raise TypeError("it is no advisor.TrainedDefense")
    return member


METHODS: Registry[TrainedDefense] = Registry("method", _BUILT_IN, _made)
