"""The trainer: recovers what noise costs, leaves the model as found, resumes to the same bits, and refuses nonsense."""

from __future__ import annotations

import copy
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import advisor
from advisor.batches import carried
from advisor.cuts import TensorSpec
from advisor.defenses.methods import METHODS
from advisor.defenses.training.defended_model import noisy
from advisor.defenses.training.encoders import bottleneck
from advisor.defenses.training.fitted_files import variant_digest
from advisor.defenses.training.task_terms import distillation, labels_loss
from advisor.defenses.training.trainer import Trainer
from advisor.errors import AdvisorError, CutError
from advisor.graph import PartitionGraph
from advisor.measures.principal_components import blocks_of, principal
from advisor.payload import Payload
from advisor.variant import Variant
from tests.estimators.nets import digits, trained

CUT = "conv2"
QUICK = {"epochs": 2, "batch": 64}


@functools.cache
def graph() -> PartitionGraph:
    return advisor.trace(trained(), digits(2)[0])


def agreement(defended: PartitionGraph, cut: Any, defense: str, seed: int = 0) -> float:
    x, _ = digits(1500)
    x = x[1000:]
    payload = Payload.of(defended, cut, defense)
    scores = payload.scores(carried(defended, (x,), 0, payload.cut.index), seed)
    assert scores is not None
    return float((scores.argmax(1) == graph()(x).argmax(1)).float().mean())


@functools.cache
def fitted(method: str, **recipe: Any) -> Variant:
    return advisor.defend(graph(), CUT, method, digits(1000)[0], **recipe)


def test_tuning_under_noise_wins_back_accuracy() -> None:
    variant = fitted("tuned", sigma=(1.0, 1.0), epochs=6, batch=64)
    noise = f"gaussian:sigma={variant.recipe['payload_rms']}"
    assert agreement(variant, variant.payload, noise) > agreement(graph(), CUT, noise) + 0.03


def test_the_model_of_the_user_is_left_as_found() -> None:
    before = {name: value.clone() for name, value in trained().state_dict().items()}
    fitted("bottleneck", width=4, **QUICK)
    assert all(torch.equal(before[name], value) for name, value in trained().state_dict().items())


def test_edge_and_cloud_have_weights_of_their_own_and_the_base_keeps_its() -> None:
    variant = fitted("tuned-bare", **QUICK)
    x, _ = digits(20)
    assert not torch.equal(variant(x), graph()(x))
    edge = set(variant.edge_parameters(variant.at))
    assert edge
    assert all(name.startswith("variant.edge.") for name in edge)
    assert variant.base is graph()
    edge_half, cloud_half = variant.split(variant.payload)
    assert torch.equal(cloud_half(edge_half(x)), variant(x))


def test_only_what_may_change_changes() -> None:
    variant = fitted("tuned", **QUICK)
    x, _ = digits(20)
    cut = graph().cut(CUT).index
    assert torch.equal(carried(variant, (x,), 0, variant.cut(CUT).index)[0], carried(graph(), (x,), 0, cut)[0])


@pytest.mark.slow
def test_the_closed_form_adversary_raises_what_its_estimators_are_left_with() -> None:
    plain = fitted("bottleneck", width=4, epochs=5, batch=128)
    ridge = fitted("ridge", width=4, epochs=5, batch=128, weight=4.0)
    assert ridge.recipe["trained_against"] == ["linear_nmse", "kernel_nmse", "linear_gain"]
    x, _ = digits(1500)
    left = []
    for variant in (plain, ridge):
        noise = f"gaussian:sigma={0.5 * variant.recipe['payload_rms']}"
        found = advisor.attack(variant, variant.payload, x[1300:], aux=x[1000:1300], defense=noise)
        left.append(found.nmse.value)
    assert left[1] > left[0]


@pytest.mark.parametrize("method", ["bottleneck", "ridge"])
def test_a_killed_fit_goes_on_to_the_same_bits(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, recipe = digits(300)[0], {"width": 4, "epochs": 3, "batch": 64}
    whole = advisor.defend(graph(), CUT, method, x, **recipe)
    folder, epochs = tmp_path / "fit", 0
    one = Trainer._epoch

    def killed(self: Trainer, *arguments: Any) -> None:
        nonlocal epochs
        if epochs == 2:
            raise KeyboardInterrupt
        epochs += 1
        one(self, *arguments)

    monkeypatch.setattr(Trainer, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        advisor.defend(graph(), CUT, method, x, folder=folder, **recipe)
    monkeypatch.setattr(Trainer, "_epoch", one)
    told: list[float] = []
    again = advisor.defend(graph(), CUT, method, x, folder=folder, progress=told.append, **recipe)
    assert again.digest == whole.digest
    assert told == sorted(told)
    assert told[0] > 0.6


def test_a_fit_goes_on_from_the_weights_of_another(tmp_path: Path) -> None:
    x, _ = digits(300)
    first = fitted("bottleneck", width=4, **QUICK)
    still = {"epochs": 1, "batch": 64, "width": 4, "rate": 1e-12}
    gone_on = advisor.defend(graph(), CUT, "ridge", x, start=first, **still)
    torch.testing.assert_close(gone_on(x), first(x), rtol=1e-4, atol=1e-4)
    anew = advisor.defend(graph(), CUT, "ridge", x, **still)
    assert (anew(x) - first(x)).abs().max() > 0.01
    assert gone_on.recipe["start"] == variant_digest(first)
    assert gone_on.recipe["fit"] != anew.recipe["fit"]


def test_what_cannot_be_gone_on_from_says_so() -> None:
    x, _ = digits(100)
    first = fitted("bottleneck", width=4, **QUICK)
    with pytest.raises(CutError, match=r"was fitted at 'conv2'\. Fit it anew"):
        advisor.defend(graph(), "conv1", "bottleneck", x, start=first, width=4, **QUICK)
    changed = copy.deepcopy(trained())
    torch.nn.init.zeros_(next(changed.parameters()))
    other = advisor.trace(changed, x[:2])
    with pytest.raises(CutError, match="was fitted to another model"):
        advisor.defend(other, CUT, "bottleneck", x, start=first)
    with pytest.raises(AdvisorError, match="another encoder or decoder"):
        advisor.defend(graph(), CUT, "bottleneck", x, start=first, width=5, **QUICK)


@pytest.mark.parametrize(("method", "epochs", "kept"), [("bottleneck", 4, 1.0), ("ridge", 6, 6.0)])
def test_with_a_privacy_term_the_last_epoch_counts_and_not_the_least_private(
    method: str, epochs: int, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # of the task: it costs ever more
    monkeypatch.setattr(Trainer, "_validation", lambda self, held: next(losses))
    variant = advisor.defend(graph(), CUT, method, digits(100)[0], epochs=6, batch=64, width=4)
    assert (variant.recipe["epochs_run"], variant.recipe["validation_loss"]) == (epochs, kept)


@pytest.mark.parametrize(("samples", "batch", "epochs"), [(100, 100, 500), (1000, 128, 63), (16_000, 128, 6)])
def test_few_samples_are_passed_over_more_often(samples: int, batch: int, epochs: int) -> None:
    method = METHODS.find("ridge")
    assert method.epochs(method.complete({"batch": batch}), samples) == epochs
    assert method.epochs(method.complete({"epochs": 3}), samples) == 3


def test_validation_that_is_flat_ends_a_fit() -> None:
    variant = advisor.defend(graph(), CUT, "tuned", digits(200)[0], sigma=(0.0, 0.0), epochs=30, batch=64, rate=1e-12)
    assert variant.recipe["epochs_run"] < 30
    assert "validation is flat" in variant.notes[-1]


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"width": 0}, "A bottleneck of width 0 and stride 1 makes no sense"),
        ({"sigma": (0.5, 0.1)}, r"Noise from 0.5 to 0.1 makes no sense"),
        ({"tuned": "some"}, "no way 'some' to tune a model. Known: none, cloud, all"),
        ({"epochs": 0}, "at least one epoch"),
        ({"epochs": "many"}, "The setting 'epochs' is a number, not 'many'"),
        ({"rate": (0.1, 0.2)}, "The setting 'rate' is a number"),
        ({"sigma": 0.5}, r"The setting 'sigma' is a range low..high, not 0.5"),
        ({"tuned": 3}, "The setting 'tuned' is a word, not 3"),
        ({"rate": math.nan}, "The recipe cannot be written down"),
        ({"rate": 1e30}, "Fitting did not recover"),
        ({"tuned": "none", "width": 4, "sigma": (0.0, math.inf)}, "cannot be written down"),
    ],
)
def test_recipes_that_make_no_sense_say_so(recipe: dict[str, Any], reason: str) -> None:
    with pytest.raises(AdvisorError, match=reason):
        advisor.defend(graph(), CUT, "bottleneck", digits(100)[0], **{**QUICK, **recipe})


@pytest.mark.parametrize(
    ("shape", "stride", "sent"),
    [((6, 9, 7), 2, (3, 5, 4)), ((6, 8, 8), 1, (3, 8, 8)), ((5, 12), 1, (5, 3)), ((12,), 1, (3,))],
)
def test_a_bottleneck_of_maps_tokens_and_vectors(shape: tuple[int, ...], stride: int, sent: tuple[int, ...]) -> None:
    z = torch.randn(10, *shape)
    encoder, decoder = bottleneck((TensorSpec(shape, "float32"),), (z,), 3, stride)
    payload = encoder(z)
    assert payload.shape[1:] == sent
    assert float(payload.abs().max()) <= 1
    assert decoder(payload).shape == z.shape


@pytest.mark.parametrize(("shape", "stride"), [((6, 8, 8), 2), ((6, 7, 9), 1), ((2, 13, 16), 4), ((3, 9, 10), 3)])
def test_a_bottleneck_of_maps_starts_as_principal_components_of_blocks(shape: tuple[int, ...], stride: int) -> None:
    z = torch.randn(50, *shape).cumsum(2).cumsum(3)
    encoder, decoder = bottleneck((TensorSpec(shape, "float32"),), (z,), 3, stride)
    there, back = encoder.parts[0], decoder.parts[0]
    scaled = there.scale(z)
    blocks, inside = blocks_of(scaled, stride), blocks_of(torch.ones_like(z), stride)
    directions, _ = principal(blocks, 3)
    again = back.spread(there.mix(scaled)).detach()
    assert again.shape == z.shape
    expected = blocks @ directions.T @ directions * inside
    assert torch.allclose(blocks_of(again, stride), expected, atol=0.03 * float(expected.std()))
    assert torch.equal(decoder(sent := encoder(z)), there.scale.back(back.spread(sent)))  # nothing is added yet


def test_tokens_of_another_length_pass_and_masks_stay() -> None:
    specs = (TensorSpec((5, 12), "float32"), TensorSpec((5,), "bool"))
    z, mask = torch.randn(10, 5, 12), torch.ones(10, 5, dtype=torch.bool)
    encoder, decoder = bottleneck(specs, (z, mask), 3, 1)
    payload, same = encoder(torch.randn(2, 9, 12), mask)
    assert payload.shape == (2, 9, 3)
    assert same is mask
    assert decoder(payload, same)[0].shape == (2, 9, 12)


def test_an_activation_of_another_kind_is_refused() -> None:
    with pytest.raises(AdvisorError, match="neither a map, nor tokens, nor a vector"):
        bottleneck((TensorSpec((2, 3, 4, 5), "float32"),), (torch.randn(4, 2, 3, 4, 5),), 2, 1)


def test_task_terms_are_zero_where_nothing_changed_and_known_elsewhere() -> None:
    scores, other = torch.randn(6, 4), torch.randn(6, 3, 2)
    assert float(distillation((scores, other), (scores, other))) == pytest.approx(0, abs=1e-6)
    flat = torch.zeros(1, 2)
    sure = torch.tensor([[math.log(3.0), 0.0]])
    wanted = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(distillation((flat,), (sure,), temperature=1.0)) == pytest.approx(wanted, rel=1e-5)
    assert float(distillation((other.mean(0).expand_as(other),), (other,))) == pytest.approx(1, rel=1e-5)
    assert float(labels_loss((torch.zeros(3, 4),), torch.arange(3))) == pytest.approx(math.log(4))
    assert float(labels_loss((torch.ones(3, 1),), torch.zeros(3))) == 1


def test_noise_is_in_units_of_the_payload_and_a_louder_payload_hides_nothing() -> None:
    z = 5 * torch.randn(2000, 3)
    added = noisy(z, 0.5, torch.Generator().manual_seed(0)) - z
    assert float(added.std()) == pytest.approx(0.5 * float(z.square().mean().sqrt()), rel=0.03)
    loud = 7 * z
    same = noisy(loud, 0.5, torch.Generator().manual_seed(0)) / 7
    assert torch.allclose(same, z + added, atol=1e-4)


def test_every_method_says_what_it_is() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.about
        assert set(method.complete({})) == set(method.settings)


@pytest.mark.parametrize("method", ["refil", "infoscissors", "adversarial", "ridge"])
def test_every_privacy_term_fits_resumes_and_says_what_it_was_trained_against(method: str, tmp_path: Path) -> None:
    recipe = {"width": 4, "epochs": 2, "batch": 64}
    x, _ = digits(300)
    whole = advisor.defend(graph(), CUT, method, x, **recipe)
    advisor.defend(graph(), CUT, method, x, folder=tmp_path, **{**recipe, "epochs": 2})
    again = advisor.defend(graph(), CUT, method, x, folder=tmp_path, **recipe)
    assert whole.digest == again.digest
    assert whole.recipe["trained_against"]
    assert agreement(whole, whole.payload, "none") > 0.25


@pytest.mark.slow
def test_a_heavier_adversary_leaves_less_to_be_read() -> None:
    left = []
    for weight in (0.0, 8.0):
        variant = fitted("adversarial", width=4, epochs=4, batch=128, weight=weight)
        x, _ = digits(1500)
        noise = f"gaussian:sigma={0.5 * variant.recipe['payload_rms']}"
        left.append(advisor.attack(variant, variant.payload, x[1300:], aux=x[1000:1300], defense=noise).nmse.value)
    assert left[1] > left[0]


class Viewing(torch.nn.Module):
    """Looks at its map by `view`, which maps that are stored channels last refuse."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.looks = looks
        self.first, self.last = torch.nn.Conv2d(1, 6, 3, 2, 1), torch.nn.Linear(6 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.first(x).relu()
        return self.last(z.view(len(z), -1) if self.looks else z.flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("looks", "layout"), [(False, torch.channels_last), (True, torch.contiguous_format)])
def test_maps_are_stored_channels_last_while_a_fit_runs_where_the_model_takes_them(
    looks: bool, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    epoch = Trainer._epoch
    monkeypatch.setattr(Trainer, "_epoch", lambda self, *a: (seen.append(self.model.layout), epoch(self, *a))[1])
    x = digits(64)[0]
    variant = advisor.defend(advisor.trace(Viewing(looks), x[:2]), "first", "ridge", x, width=2, epochs=1, batch=32)
    assert seen == [layout]
    weights = [*variant.module.parameters()]
    assert weights
    assert all(w.is_contiguous() for w in weights)
