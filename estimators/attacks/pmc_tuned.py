"""`pmc-tuned`: model completion that also fine-tunes what reads the activation, as its authors do (Fu et al. 2022).

The attacker starts from the cloud half that it runs anyway, up to what it sends back or answers, and puts a head of one
layer after it. MixMatch then tunes both on what was received.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from advisor.attack_versions import version_of
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.mlp import known_labels, said
from advisor.estimators.attacks.pmc import CHUNK, Pool, mixmatch
from advisor.estimators.attacks.support.label_features import label_features
from advisor.measures.flat_rows import flat, side_by_side


@dataclass(frozen=True)
class TunedCompletion:
    """As `pmc`, by who knows the cloud half's weights."""

    name: ClassVar[str] = "pmc-tuned"
    about: ClassVar[str] = "as pmc, the cloud half fine-tuned with the head (Fu et al., USENIX Sec 2022)"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = ThreatModel(
        ("cut and defense", "cloud weights"), ("auxiliary inputs", "few labels"), ("query the edge",), "label"
    )
    version: ClassVar[int] = version_of("pmc-tuned")

    def run(self, context: AttackContext) -> Recovered:
        """Tune on what was received, answer with the averaged weights.

        Raises:
            NotMeasurableError: where nothing of the cloud half comes after the payload, or it takes no such numbers.
        """
        labels = known_labels(context)
        read = label_features(context, whole=True)
        network = Reading(context.body(), context.sent, context.classes)
        steady = mixmatch(network, Pool.of(read, labels, context.classes), context, network.tuned())
        with torch.no_grad():
            found = torch.cat([steady(part).softmax(1) for part in torch.split(read.seen, CHUNK)])
        return Recovered(labels=found, notes=(said(labels),))


class Reading(nn.Module):
    """A copy of the cloud half, which reads rows of all that was received, and a head on what it gives.

    Args:
        body: the cloud half, or a part of it.
        sent: what was received, each `[N, ...]`.
        classes: of the head.
    """

    def __init__(self, body: nn.Module, sent: Sequence[Tensor], classes: int) -> None:
        super().__init__()
        if not all(t.is_floating_point() for t in sent):
            raise NotMeasurableError("masks or ids are sent beside numbers: they cannot be mixed")
        self.shapes, self.dtypes = [t.shape[1:] for t in sent], [t.dtype for t in sent]
        self.body = copy.deepcopy(body).eval()
        for parameter in self.body.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.no_grad():
            width = self._features(side_by_side(t[:2].float() for t in sent)).shape[1]
        self.head = nn.Linear(width, classes).to(sent[0].device)

    def forward(self, rows: Tensor) -> Tensor:
        """Scores `[n, classes]` of rows `[n, f]`."""
        scores: Tensor = self.head(self._features(rows))
        return scores

    def tuned(self) -> list[nn.Parameter]:
        """Parameters of the body."""
        return [p for p in self.body.parameters() if p.requires_grad]

    def _features(self, rows: Tensor) -> Tensor:
        sizes = [shape.numel() for shape in self.shapes]
        parts = torch.split(rows, sizes, 1)
        received = [
            part.reshape(len(rows), *shape).to(dtype)
            for part, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        ]
        leaves: list[Any] = pytree.tree_leaves(self.body(*received))
        floats = [t.float() for t in leaves if isinstance(t, Tensor) and t.is_floating_point()]
        if not floats:
            raise NotMeasurableError("the cloud half gives no floating-point numbers to read labels from")
        return torch.cat([t.flatten(2).mean(2) if t.dim() > 2 else flat(t) for t in floats], 1)
