"""A trained defense is one file and one entry; what it makes is a variant; what cannot be fitted says so."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.batches import carried
from advisor.data.samples import fingerprint
from advisor.defenses.methods import METHODS
from advisor.defenses.payload.base import Need
from advisor.defenses.training.base import FitTask, Fitted, TrainedDefense
from advisor.errors import AdvisorError, CutError, DataError
from advisor.graph import PartitionGraph
from tests.estimators.nets import digits, trained

pytestmark = pytest.mark.usefixtures("short_attacks")

CUT = "conv2"


class Projection(TrainedDefense):
    """A bottleneck: the leading principal directions of the channels, fitted in closed form."""

    name: ClassVar[str] = "projection"
    about: ClassVar[str] = "principal directions of the channels"
    settings: ClassVar[Mapping[str, Any]] = {"width": 4}

    def fit(self, task: FitTask) -> Fitted:
        z = carried(task.graph, task.inputs, 0, task.cut.index)[0]
        rows = z.movedim(1, -1).reshape(-1, z.shape[1])
        _, _, turned = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
        task.progress(1.0)
        return Fitted(Mix(turned[: task.recipe["width"]]), Mix(turned[: task.recipe["width"]].T), notes=("As meant.",))


class Mix(nn.Module):
    """Channels mixed by a matrix."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z: Tensor) -> Tensor:
        return torch.einsum("oc,nchw->nohw", self.matrix, z)


class Needy(Projection):
    name: ClassVar[str] = "needy"
    needs: ClassVar[frozenset[Need]] = frozenset({"samples", "labels"})


class Diverging(Projection):
    name: ClassVar[str] = "diverging"

    def fit(self, task: FitTask) -> Fitted:
        return Fitted(Mix(torch.full((2, 16), torch.nan)), Mix(torch.zeros(16, 2)))


@functools.cache
def graph() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


def test_a_made_up_method_is_one_entry_and_goes_all_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS.built_in, "projection", f"{__name__}:Projection")
    x, _ = digits(120)
    told: list[float] = []
    variant = advisor.defend(graph(), CUT, "projection", x, width=6, progress=told.append)
    assert variant.payload.tensors[0].shape == (6, 4, 4)
    facts = {"method": "projection", "width": 6, "seed": 0, "base": graph().digest, "data": fingerprint(x, None)}
    assert facts.items() <= variant.recipe.items()
    assert variant.recipe.keys() - facts.keys() == {"fit", "chain"}
    assert variant.notes[-1] == "As meant."
    assert told == [1.0]
    agreement = (variant(x).argmax(1) == graph()(x).argmax(1)).float().mean()
    assert agreement > 0.8
    cost = advisor.profile(variant)
    assert cost["bytes"].at(variant.payload).value == 6 * 4 * 4 * 4
    found = advisor.attack(variant, variant.payload, x, name="ka", defense="gaussian:sigma=1+int8")
    assert 0 < found.nmse.value < 1.2
    edge, cloud = variant.split(variant.payload)
    assert torch.equal(cloud(edge(x)), variant(x))


def test_the_same_seed_gives_the_same_variant() -> None:
    x, _ = digits(100)
    first, second = (advisor.defend(graph(), CUT, Projection(), x, seed=3) for _ in range(2))
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("method", "changes", "error", "reason"),
    [
        ("magic", {}, AdvisorError, "There is no method 'magic'"),
        (Projection(), {"depth": 3}, AdvisorError, "has no setting 'depth'. It has: width"),
        (Projection(), {"x": digits(8)[0]}, DataError, "8 samples are too few to fit a defense. Pass at least 16"),
        (Needy(), {}, DataError, "learns from labels, and there are none. Pass y"),
        (Needy(), {"y": digits(9)[1]}, DataError, "40 samples but 9 labels"),
        (Diverging(), {}, AdvisorError, "ended in weights that are no numbers"),
        (Projection(), {"cut": "output"}, CutError, "After the output nothing is sent"),
        (Projection(), {"tail": "conv1"}, CutError, "The tail 'conv1' does not lie after the head"),
        (Projection(), {"x": torch.rand(40, 3, 8, 8)}, DataError, "shape"),
    ],
)
def test_what_cannot_be_fitted_says_so(method: Any, changes: dict[str, Any], error: type, reason: str) -> None:
    wanted = {"cut": CUT, "x": digits(40)[0]} | changes
    with pytest.raises(error, match=reason):
        advisor.defend(graph(), wanted.pop("cut"), method, wanted.pop("x"), **wanted)
