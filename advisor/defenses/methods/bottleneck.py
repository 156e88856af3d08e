"""`bottleneck`: rank and noise, no privacy term (the core of ReFIL: Maeng et al., NeurIPS 2023, section 4)."""

from __future__ import annotations

from typing import ClassVar

from advisor.defenses.training.bottleneck_method import BottleneckMethod


class Bottleneck(BottleneckMethod):
    """A narrow payload, tuned under noise."""

    name: ClassVar[str] = "bottleneck"
    about: ClassVar[str] = "narrow payload, tuned under noise, no privacy term (core of ReFIL, Maeng et al. 2023)"
    paper: ClassVar[str] = "Maeng et al., NeurIPS 2023, section 4"
    cost: ClassVar[str] = "a plain step"
    weakness: ClassVar[str] = "weak alone: a fresh decoder reads what little is sent; repeats average the noise"
