"""Long runs and odd data: resumed after a kill, features out of memory, auxiliary samples of every kind, scores."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from advisor.defenses import GaussianNoise, Quantize8
from advisor.errors import AdvisorError, DataError
from advisor.estimate import NORMAL_90
from advisor.estimators.attacks.base import Recovered
from advisor.estimators.attacks.runner import attack
from advisor.estimators.attacks.support import channel
from advisor.estimators.attacks.support.metrics import reidentification, score_ids, score_inputs, score_labels
from advisor.estimators.inversion import alignment, training
from advisor.estimators.inversion.alignment import BUDGETS, QUICK, STRONG
from advisor.graph import PartitionGraph
from advisor.measures import perceptual
from advisor.measures.decoders.standard import Standardised, mean_of
from advisor.measures.images import mse
from advisor.measures.perceptual import lpips
from advisor.testing.made_up_views import normal
from advisor.tracing.tracer import trace
from tests.estimators.nets import Denormalising, digits, trained


@pytest.fixture(scope="module")
def graph() -> PartitionGraph:
    return trace(trained(), digits(2)[0])


def test_a_killed_attack_goes_on_as_if_nothing_had_been(
    graph: PartitionGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = digits(120)[0]
    whole = attack(graph, "output", x).reconstructions
    taken = [0]

    def kill(share: float) -> None:
        taken[0] += 1
        if taken[0] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attack(graph, "output", x, folder=tmp_path, progress=kill)
    assert list(tmp_path.glob("*/decoder0.pt"))
    steps = [0]
    step = training.OneCycle.step_in_parts

    def counted(self: object, *arguments: object) -> None:
        steps[0] += 1
        step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training.OneCycle, "step_in_parts", counted)
    again = attack(graph, "output", x, folder=tmp_path)
    assert torch.equal(again.reconstructions, whole)
    resumed = steps[0]
    attack(graph, "output", x)
    assert 0 < resumed < steps[0] - resumed
    other = attack(graph, "output", x, seed=1, folder=tmp_path)
    assert torch.equal(other.reconstructions, attack(graph, "output", x, seed=1).reconstructions)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_spoilt_state_is_refused(graph: PartitionGraph, tmp_path: Path) -> None:
    x = digits(80)[0]
    attack(graph, "output", x, folder=tmp_path)
    for file in tmp_path.glob("*/decoder0.pt"):
        file.write_bytes(b"spoilt")
    with pytest.raises(AdvisorError, match=r"decoder0.pt is not of this attack.*Name another folder"):
        attack(graph, "output", x, folder=tmp_path)


def test_features_too_large_for_memory_give_the_same_answer(
    graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = digits(100)[0]
    held = [attack(graph, cut, x, defense=GaussianNoise(0.2)).nmse.value for cut in (1, "output")]
    monkeypatch.setattr(channel, "COMPACT_BYTES", 64)
    mapped = [attack(graph, cut, x, defense=GaussianNoise(0.2)).nmse.value for cut in (1, "output")]
    assert mapped == pytest.approx(held, rel=0.05)


def test_half_precision_features_are_standardised_as_they_are_read() -> None:
    z = (3 * normal(300, 5, 2, 2) + 1).half()
    z[:, 3] = 0.25
    train = torch.arange(0, 300, 2)
    lazy = Standardised(z, train)
    known = z[train].float()
    mean, std = known.mean((0, 2, 3), keepdim=True), known.std((0, 2, 3), keepdim=True)
    expected = (z.float() - mean) * torch.where(std > 1e-5, 1 / std, 0)
    assert torch.allclose(lazy[torch.arange(300)], expected, atol=1e-4)
    assert torch.allclose(mean_of(lazy, train), expected[train].mean(0), atol=1e-4)
    assert torch.equal(mean_of(known, torch.arange(5)), known[:5].mean(0))


def test_an_attack_learns_through_quantisation(graph: PartitionGraph) -> None:
    assert attack(graph, 1, digits(200)[0], defense=Quantize8()).nmse.value < 0.01


@pytest.mark.parametrize("kind", ["same", "shifted", "small", "synthetic"])
def test_auxiliary_samples_of_every_kind(graph: PartitionGraph, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = digits(260)[0]
    aux: object = {"same": x[100:], "shifted": x[100:].flip(-1), "small": x[100:], "synthetic": "synthetic"}[kind]
    found = attack(graph, 1, x[:100], aux, aux_samples=40 if kind == "small" else None)
    assert found.nmse.value < 0.1
    said = {"small": "40 of 160", "synthetic": "512 synthetic samples"}.get(kind, "as given, 160 of 160")
    assert any(said in note for note in found.notes)


def test_fewer_auxiliary_samples_make_a_weaker_attack(graph: PartitionGraph) -> None:
    x = digits(900)[0]
    few, many = (attack(graph, "output", x[:200], x[200:], aux_samples=n).nmse.value for n in (40, 700))
    assert many < few


def test_bad_auxiliary_data_and_repeats_are_refused(graph: PartitionGraph) -> None:
    x = digits(60)[0]
    with pytest.raises(DataError):
        attack(graph, 1, x, torch.rand(40, 1, 9, 9))
    with pytest.raises(DataError, match='"synthetic"'):
        attack(graph, 1, x, "pictures")
    with pytest.raises(AdvisorError, match="0 transmissions"):
        attack(graph, 1, x, repeats=0)
    with pytest.raises(DataError, match="60 samples but 3 labels"):
        attack(graph, 1, x, y=torch.zeros(3).long(), name="pmc")
    with pytest.raises(AdvisorError, match="fewer than two classes"):
        attack(graph, 1, x, y=torch.zeros(60).long(), name="pmc")


def test_the_strong_preset_is_one_constant(graph: PartitionGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (STRONG.auxiliary, STRONG.held_out, STRONG.seed) == (8000, 1000, 0)
    assert (QUICK.auxiliary, QUICK.held_out) == (None, None)
    small = dataclasses.replace(QUICK, auxiliary=90, held_out=25)
    for module in (alignment, training):
        assert BUDGETS is alignment.BUDGETS, module
    monkeypatch.setitem(BUDGETS, "strong", small)
    found = attack(graph, 1, digits(300)[0], budget="strong")
    assert len(found.rows) == len(found.originals) == 25
    assert any(" 90 of 2" in note for note in found.notes)
    assert torch.equal(found.originals, digits(300)[0][found.rows])


def test_best_median_and_worst_are_ranked_by_error(graph: PartitionGraph) -> None:
    found = attack(graph, "output", digits(120)[0])
    error = mse(found.reconstructions, found.originals)
    best, median, worst = found.ranked()
    assert error[best] == error.min()
    assert error[worst] == error.max()
    assert (error < error[median]).sum() == len(error) // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ka", "rmle", "dip", "unbiased", "dci"])
def test_images_that_are_already_normalised_are_recovered_as_well(graph: PartitionGraph, name: str) -> None:
    x, cut = digits(64)[0], graph.cuts[2]
    normal, after = (x - 0.5) / 0.25, trace(Denormalising(trained()).eval(), digits(2)[0])
    shallow = after.cuts[len(after.cuts) - len(graph.cuts) + cut.index]
    given, other = attack(graph, cut, x, name=name), attack(after, shallow, normal, name=name)
    assert other.nmse.value == pytest.approx(given.nmse.value, abs=0.03)
    assert other.ssim.value == pytest.approx(given.ssim.value, abs=0.03)
    assert other.psnr.value == pytest.approx(given.psnr.value, abs=3)
    assert other.mse.value == pytest.approx(16 * given.mse.value, rel=0.6, abs=1e-6)
    assert float(other.originals.min()) == -2
    assert name == "unbiased" or float(other.reconstructions.min()) >= -2


def test_made_up_auxiliary_samples_have_the_range_of_the_private_ones() -> None:
    x, graph = digits(60)[0], trace(Denormalising(trained()).eval(), digits(2)[0])
    assert attack(graph, "mul", (x - 0.5) / 0.25, "synthetic").nmse.value < 0.05


def test_a_perfect_copy_is_reidentified_and_noise_is_not(graph: PartitionGraph) -> None:
    x = digits(200)[0]
    assert reidentification(graph, (x,), x).value == 1
    assert reidentification(graph, (x,), F.interpolate(x, size=(8, 8))).value == 1
    assert reidentification(graph, (x,), torch.rand(200, 1, 8, 8)).value < 0.4
    assert math.isnan(reidentification(graph, (x, x), x).value)


def test_scores_of_made_up_results() -> None:
    x = torch.rand(50, 1, 8, 8)
    perfect = score_inputs(Recovered(inputs=x), x, x.mean(0), True)
    assert (perfect.nmse.value, perfect.mse.value, perfect.psnr.value) == (0, 0, 100)
    assert perfect.ssim.value == pytest.approx(1)
    mean = score_inputs(Recovered(inputs=x.mean(0).expand_as(x)), x, x.mean(0), True)
    assert mean.nmse.value == pytest.approx(1)
    clipped = score_inputs(Recovered(inputs=x + 9), x, x.mean(0), True)
    free = score_inputs(Recovered(inputs=x + 9, clip=False), x, x.mean(0), True)
    assert clipped.mse.value < 1 < 80 < free.mse.value
    guesses = torch.eye(7)[[0, 1, 2, 3]]
    found = score_labels(Recovered(labels=guesses), torch.tensor([0, 1, 2, 6]))
    assert (found.top1.value, found.top5.value) == (0.75, 0.75)
    ids = score_ids(Recovered(ids=torch.tensor([[[1, 2], [3, 4]]])), torch.tensor([[2, 3]]))
    assert (ids.top1.value, ids.top5.value) == (0.5, 1.0)


def test_lpips_says_when_its_network_is_not_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    found = lpips(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
    assert math.isnan(found.value)
    assert "none is there" in found.method


@pytest.mark.filterwarnings("ignore")
def test_lpips_uses_the_network_in_the_cache_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    def refused(*args: object, **more: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    name = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / name)
    assert perceptual.network_at_hand() == "squeeze"
    x = torch.rand(3, 1, 16, 16)
    assert lpips(x, x).value == pytest.approx(0, abs=1e-6)
    near, far = lpips((x + 0.05).clamp(0, 1), x), lpips(torch.rand_like(x), x)
    assert 0 < near.value < far.value
    assert "squeeze" in near.method


def test_no_error_s_interval_starts_below_zero() -> None:
    """One input of sixteen is lost, the others are found to the bit: the normal interval would reach below 0."""
    x = torch.rand(16, 5, generator=torch.Generator().manual_seed(0))
    found = x.clone()
    found[0] += 1
    result = score_inputs(Recovered(inputs=found, clip=False), x, x.mean(0), False)
    for error in (result.nmse, result.mse):
        assert error.value - NORMAL_90 * error.stderr < 0
        assert error.low == 0
        assert error.high > error.value
