"""Methods beside the bottleneck: one that draws, one that answers on the edge, one that hides the prediction."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.batches import carried
from advisor.defenses.methods import METHODS
from advisor.defenses.training.base import FitTask
from advisor.defenses.training.defended_model import DefendedModel
from advisor.defenses.training.fit_samples import FitSamples
from advisor.defenses.training.prediction_adversary import PredictionClub
from advisor.defenses.training.terms import Step
from advisor.defenses.training.variational_bottleneck import Divergence, variational_bottleneck
from advisor.errors import AdvisorError, CutError, DataError
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.variant import Variant
from tests.estimators.nets import Restorer, digits, fixed, trained
from tests.models import ZOO, traced

CUT, TAIL = "conv2", "squeeze"


@functools.cache
def graph() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


@functools.cache
def fitted(method: str, **recipe: Any) -> Variant:
    return advisor.defend(graph(), CUT, method, digits(1000)[0], **{"epochs": 3, "batch": 64} | recipe)


def agreement(variant: Variant, defense: str) -> float:
    x = digits(1500)[0][1000:]
    return float(advisor.accuracy(variant, x, defense=defense))


def test_every_method_says_what_people_must_know() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert all((method.about, method.paper, method.cost, method.weakness, method.broken_by, method.needs)), name
        assert set(method.space) <= set(method.settings), name
        for trial in method.initial_trials(graph().cut(CUT)):
            assert set(trial) <= set(method.settings), name
            assert all(method.space[key].contains(value) for key, value in trial.items()), name


# ---- mid: the payload is drawn ---------------------------------------------------------------------------------------


def test_mid_sends_what_is_drawn_from_mean_and_spread(tmp_path: Path) -> None:
    variant = fitted("mid", width=4, weight=0.02)
    assert variant.recipe["chain"] == "reparam"
    assert [spec.shape for spec in variant.payload.tensors] == [(4, 4, 4)] * 2
    payload = Payload.of(variant, variant.payload, variant.recipe["chain"])
    assert payload.defense.wire_bytes(variant.payload) == 4 * 4 * 4 * 4
    assert agreement(variant, "reparam") > 0.6
    assert Payload.of(variant, variant.payload, "reparam+int8").defense.names == ("reparam", "int8")
    for defense in (None, "int8", "gaussian:sigma=1"):
        with pytest.raises(
            CutError, match=r"is sent by reparam, which draws it.*Pass the defense 'reparam', or a chain"
        ):
            advisor.attack(variant, variant.payload, digits(16)[0], defense=defense)
    again = advisor.load_variant(advisor.save_variant(variant, tmp_path), graph())
    assert again.digest == variant.digest


def test_a_heavier_divergence_tells_less() -> None:
    x = digits(1000)[0]
    told = []
    for weight in (0.0, 3.0):
        variant = fitted("mid", width=4, weight=weight)
        mean, spread = carried(variant, (x,), 0, variant.payload.index)
        told.append(float(Divergence(1.0).loss(Step(x, (mean, spread), (), ()))))
    assert told[1] < 0.3 * told[0]


def test_the_fit_draws_as_the_defense_does() -> None:
    z = torch.randn(40, 16, 4, 4)
    encoder, decoder = variational_bottleneck(graph().cut(CUT).tensors, (z,), 3, 1)
    task = FitTask(graph(), graph().cut(CUT), (digits(40)[0],))
    model = DefendedModel(task, encoder, decoder, draws=True)
    batch = FitSamples((digits(40)[0],), None, (), (z,))
    step = model(batch, 1.0, torch.Generator().manual_seed(3))
    mean, spread = encoder(z)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(step.sent[0], mean + spread.exp() * noise)
    assert torch.equal(model(batch, 0.0, torch.Generator()).sent[0], mean)


# ---- local-head: the edge answers ------------------------------------------------------------------------------------


def test_a_local_head_is_a_graph_that_answers_on_the_edge(tmp_path: Path) -> None:
    variant = fitted("local-head", width=32, epochs=6)
    x = digits(1500)[0][1000:]
    assert variant.answers
    assert variant.payload.name == f"{CUT}/payload"
    assert variant.payload.tensors == graph().cuts[-1].tensors
    edge, cloud = variant.split(variant.payload)
    assert torch.equal(edge(x), variant(x))
    assert torch.equal(cloud(edge(x)), variant(x))
    assert float((variant(x).argmax(1) == graph()(x).argmax(1)).float().mean()) > 0.6
    assert variant.changes == ("edge weights", "app")
    assert "fc" not in {cut.name for cut in variant.cuts}
    again = advisor.load_variant(advisor.save_variant(variant, tmp_path), graph())
    assert again.answers
    assert torch.equal(again(x), variant(x))


def test_a_local_head_is_priced_without_the_cloud_half() -> None:
    variant = fitted("local-head", width=32, epochs=6)
    base, own = (advisor.profile(g, device="jetson", link="wifi") for g in (graph(), variant))
    at = own["edge_latency"].at(variant.cut(CUT)).value
    assert at == base["edge_latency"].at(graph().cut(CUT)).value
    assert own["edge_latency"].values[-1] > at
    assert own["cloud_latency"].values[-1] == 0
    assert own["bytes"].at(variant.payload).value == 40
    assert own["macs"].values[-1] < base["macs"].values[-1] + 16 * 32 * 9 * 4 + 32 * 32 + 320 + 1


def test_a_local_head_of_maps_answers_with_maps() -> None:
    x = digits(100)[0]
    whole = advisor.trace(fixed(Restorer()), x[:2])
    variant = advisor.defend(whole, "down", "local-head", x, width=8, epochs=1, batch=50)
    assert variant(x).shape == x.shape


def test_heads_that_make_no_sense_say_so() -> None:
    x = digits(40)[0]
    with pytest.raises(AdvisorError, match=r"A head of width 0 makes no sense"):
        advisor.defend(graph(), CUT, "local-head", x, width=0)
    with pytest.raises(AdvisorError, match=r"A local head answers on the edge: it has no tail"):
        advisor.defend(graph(), CUT, "local-head", x, tail=TAIL)


# ---- U-shaped --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "least", "most"), [(3.0, 0.8, 30.0), (0.0, 0.0, 0.2)])
def test_the_term_of_the_prediction_is_large_where_what_is_returned_tells_the_label(
    told: float, least: float, most: float
) -> None:
    draw, term = torch.Generator().manual_seed(0), PredictionClub(2.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(12):
            labels = torch.randint(0, 4, (200,), generator=draw)
            scores = nn.functional.one_hot(labels, 4).float()
            returned = (told * scores + torch.randn(200, 4, generator=draw)).requires_grad_()
            found = term.loss(Step(None, (), (), (), (returned,), (scores,)))
    assert least <= float(found.detach()) / 2 <= most
    (gradient,) = torch.autograd.grad(found, returned)
    assert told == 0 or float((gradient * returned.detach()).sum()) > 0, "a louder label is told more"


def test_a_u_shaped_fit_has_a_term_on_what_is_returned() -> None:
    variant = fitted("infoscissors", width=4, tail=TAIL, weight=0.1)
    assert variant.recipe["tail"] == TAIL
    assert variant.recipe["trained_against"] == ["club", "label_leak"]
    assert variant.changes == ("edge weights", "cloud weights", "app")
    assert agreement(variant, "none") > 0.5


def test_weights_after_the_tail_are_the_edge_s() -> None:
    variant = fitted("tuned", tail=TAIL, epochs=1)
    assert set(variant.parts.cloud_weights) == {"squeeze.weight", "squeeze.bias", "fc.weight", "fc.bias"}
    assert variant.changes == ("edge weights", "cloud weights")
    head, body, tail = variant.split(variant.payload, variant.cut(TAIL))
    x = digits(9)[0]
    assert torch.equal(tail(body(head(x))), variant(x))


def test_the_prediction_cannot_be_hidden_without_a_tail() -> None:
    with pytest.raises(AdvisorError, match=r"Without a tail the cloud makes the prediction"):
        advisor.defend(graph(), CUT, "infoscissors", digits(40)[0], prediction=1.0)


# ---- bad input -------------------------------------------------------------------------------------------------------


class Ids(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(9, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.table(ids))


def test_ids_and_variants_and_nan_are_refused_with_the_reason() -> None:
    ids = torch.randint(0, 9, (40,), generator=torch.Generator().manual_seed(0))
    whole = advisor.trace(fixed(Ids()), ids[:2])
    with pytest.raises(CutError, match=r"The activation at 'input' is int64: there is nothing to encode. Cut later"):
        advisor.defend(whole, 0, "bottleneck", ids)
    with pytest.raises(AdvisorError, match=r"The inputs of this model are ids: the SNR loss has nothing"):
        advisor.defend(whole, 1, "refil", ids, width=2)
    with pytest.raises(CutError, match=r"A variant of a variant is not supported"):
        advisor.defend(fitted("tuned", epochs=1), CUT, "tuned", digits(40)[0])
    holes = digits(40)[0].clone()
    holes[3, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match=r"The training samples hold NaN or infinity"):
        advisor.defend(graph(), CUT, "tuned", holes)
    with pytest.raises(DataError, match=r"The validation samples hold NaN or infinity"):
        advisor.defend(graph(), CUT, "tuned", digits(40)[0], val=holes)
    with pytest.raises(AdvisorError, match=r"This recipe changes nothing"):
        advisor.defend(graph(), CUT, "tuned", digits(40)[0], tuned="none")


def test_a_program_of_frozen_batch_has_its_weights_tuned() -> None:
    graph, x = traced("hard_batch"), ZOO["hard_batch"].inputs(40)
    variant = advisor.defend(graph, graph.cuts[1], "bottleneck", x, width=2, epochs=1, batch=20)
    assert "cloud weights" in variant.changes
    assert variant.fixed_batch == graph.fixed_batch


def test_a_fit_that_was_done_is_loaded_and_another_is_not(tmp_path: Path) -> None:
    x, told = digits(60)[0], []
    wanted: dict[str, Any] = {"epochs": 1, "batch": 30, "folder": tmp_path}
    first = advisor.defend(graph(), CUT, "tuned", x, **wanted)
    assert [file.suffix for file in tmp_path.rglob("*") if file.is_file()] == [".safetensors"]
    again = advisor.defend(graph(), CUT, "tuned", x, progress=told.append, **wanted)
    assert told == [1.0]
    assert (again.digest, again.recipe) == (first.digest, first.recipe)
    other = advisor.defend(graph(), CUT, "tuned", x, seed=1, **wanted)
    assert other.digest != first.digest
    assert len(list((tmp_path / "defenses").iterdir())) == 2


def test_a_fit_that_comes_apart_ends_early_with_the_best_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    from advisor.defenses.training.trainer import Trainer

    one = Trainer._epoch

    def broken(self: Trainer, *arguments: Any) -> None:
        one(self, *arguments)
        if arguments[-1] == 2:
            for parameter in self.model.own():
                parameter.data.fill_(torch.nan)

    monkeypatch.setattr(Trainer, "_epoch", broken)
    variant = advisor.defend(graph(), CUT, "tuned", digits(200)[0], epochs=8, batch=64)
    assert variant.recipe["epochs_run"] == 3
    assert "it came apart, and did not recover; the state before is kept" in variant.notes[-1]
    assert 0.5 < variant.recipe["validation_agreement"] <= 1
