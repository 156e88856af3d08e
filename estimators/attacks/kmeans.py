"""`kmeans`: classes as clusters of what is received, named by the few labels that are known (Lloyd 1982; Kuhn 1955)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.mlp import LABELLED, known_labels, said
from advisor.estimators.attacks.support.label_features import label_features

STARTS = {"quick": 10, "strong": 50}


@dataclass(frozen=True)
class Clusters:
    """Learns nothing from labels but the clusters' names: each class gets one, by the assignment of most agreement."""

    name: ClassVar[str] = "kmeans"
    about: ClassVar[str] = "k-means on what is received, clusters assigned to classes by few labels (Kuhn 1955)"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = LABELLED

    def run(self, context: AttackContext) -> Recovered:
        """Cluster all samples, assign, read the private ones.

        Raises:
            NotMeasurableError: fewer samples than classes.
        """
        read, labels = label_features(context), known_labels(context)
        context.tick(0.1)
        z = torch.cat([read.own, read.seen])
        if len(z) < context.classes:
            raise NotMeasurableError(f"{len(z)} samples make no {context.classes} clusters")
        found = context.kept("clusters", partial(clustered, z, context))
        context.tick(0.5)
        far: Tensor = torch.cdist(z, found["centres"])
        shown = labels >= 0
        named = context.kept("names", partial(assigned, far[: len(labels)][shown].argmin(1), labels[shown], context))
        return Recovered(labels=-far[len(labels) :, named["cluster_of"]], notes=(said(labels),))


def clustered(z: Tensor, context: AttackContext) -> dict[str, Any]:
    """Centres `[classes, f]` of features `[n, f]`."""
    from sklearn.cluster import KMeans

    found = KMeans(context.classes, n_init=STARTS[context.effort], random_state=context.seed).fit(z.numpy())
    return {"centres": torch.as_tensor(found.cluster_centers_).float()}


def assigned(clusters: Tensor, labels: Tensor, context: AttackContext) -> dict[str, Any]:
    """The cluster of each class `[classes]`, so that most of the known labels `[m]` agree with their clusters."""
    from scipy.optimize import linear_sum_assignment

    counts = torch.zeros(context.classes, context.classes)
    counts.index_put_((labels, clusters), torch.ones(len(labels)), accumulate=True)
    return {"cluster_of": torch.from_numpy(linear_sum_assignment(-counts.numpy())[1])}
