from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from advisor.cuts import TensorSpec
from advisor.data.synthetic.batchnorm import from_batchnorm_statistics, mismatch
from advisor.data.synthetic.natural import dead_leaves, natural_images, pink_noise
from advisor.data.synthetic.synthesis import batchnorm_statistics, is_image, synthesise
from advisor.progress import of_shares
from advisor.tracing.tracer import trace
from advisor.value_range import ValueRange


def convolutional(trained: bool) -> nn.Module:
    torch.manual_seed(0)
    features = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    if trained:
        with torch.no_grad():
            for i in range(40):
                model(natural_images((3, 16, 16), 32, 100 + i) ** 2)  # darker than the prior
    return model.eval()


# ---- the natural-image prior -----------------------------------------------------------------------------------------


def slope(images: np.ndarray) -> float:
    """Slope of log amplitude against log frequency, radially, of windowed images [n, H, W]."""
    size = images.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = (np.abs(np.fft.fft2((images - images.mean((1, 2), keepdims=True)) * window)) ** 2).mean(0)
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    band = (radius > 3 / size) & (radius < 0.3)
    return float(np.polyfit(np.log(radius[band]), 0.5 * np.log(power[band]), 1)[0])


def test_pink_noise_falls_as_one_over_f() -> None:
    rng = np.random.default_rng(0)
    images = np.stack([pink_noise((1, 64, 64), rng)[0] for _ in range(40)])
    assert slope(images) == pytest.approx(-1, abs=0.1)


def test_dead_leaves_have_the_spectrum_of_photographs_and_flat_parts() -> None:
    rng = np.random.default_rng(0)
    images = np.stack([dead_leaves((1, 64, 64), rng)[0] for _ in range(40)])
    assert -1.6 < slope(images) < -1.0  # photographs: -1.2 ± 0.3 (CIFAR-10: -1.4)
    assert float((np.diff(images, axis=2) == 0).mean()) > 0.5


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 96, 64), (4, 16, 16)])
def test_natural_images_have_the_moments_of_photographs(shape: tuple[int, int, int]) -> None:
    x = natural_images(shape, 64, 0)
    assert x.shape == (64, *shape)
    assert x.dtype == torch.float32
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    assert float(x.mean()) == pytest.approx(0.45, abs=0.05)
    assert float(x.std()) == pytest.approx(0.24, abs=0.04)  # ImageNet: 0.226 within a channel; CIFAR-10: 0.25
    neighbours = torch.corrcoef(torch.stack([x[..., 1:].flatten(), x[..., :-1].flatten()]))[0, 1]
    assert float(neighbours) > 0.75  # CIFAR-10: 0.89


def test_colours_are_correlated_as_in_photographs() -> None:
    x = natural_images((3, 32, 32), 64, 0).transpose(0, 1).flatten(1)
    correlation = torch.corrcoef(x)
    assert 0.75 < float(correlation[0, 1]) < 0.99
    assert float(correlation[0, 2]) < float(correlation[0, 1])


def test_the_prior_repeats_and_grows_by_appending() -> None:
    first = natural_images((3, 16, 16), 6, 5)
    assert torch.equal(first, natural_images((3, 16, 16), 6, 5))
    assert torch.equal(first[:2], natural_images((3, 16, 16), 2, 5))
    assert not torch.equal(first, natural_images((3, 16, 16), 6, 6))
    assert not torch.equal(first[0], first[1])


# ---- BatchNorm statistics --------------------------------------------------------------------------------------------


def test_mismatch_is_the_published_sum() -> None:
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, variance = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 0.5])
    slow = 0.0
    for which in (0, 1):
        squares = 0.0
        for c in range(3):
            values = x[:, c].flatten().tolist()
            mu = sum(values) / len(values)
            var = sum((v - mu) ** 2 for v in values) / len(values)
            squares += (mu - float(mean[c])) ** 2 if which == 0 else (var - float(variance[c])) ** 2
        slow += math.sqrt(squares)
    assert float(mismatch(x, (mean, variance))) == pytest.approx(slow, rel=1e-5)


def test_only_trained_statistics_count() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert batchnorm_statistics(trace(convolutional(False), x)) == {}
    model = convolutional(True)
    found = list(batchnorm_statistics(trace(model, x)).values())
    assert len(found) == 2
    assert torch.equal(found[0][0], model[1].running_mean)  # type: ignore[index]
    assert torch.equal(found[1][1], model[4].running_var)  # type: ignore[index]


def test_refinement_reaches_statistics_that_can_be_reached() -> None:
    """One normalisation that reads the input itself: its mean and variance are a closed-form target."""
    target = torch.tensor([0.2, 0.5, 0.8]), torch.tensor([0.01, 0.02, 0.03])
    start = natural_images((3, 16, 16), 8, 0)
    fit = from_batchnorm_statistics(lambda x, at: at("x", x), {"x": target}, start, 150, batch=8)
    assert fit.after < 0.1 * fit.before
    assert torch.allclose(fit.x.mean((0, 2, 3)), target[0], atol=0.03)
    assert torch.allclose(fit.x.var((0, 2, 3)), target[1], atol=0.01)
    assert float(fit.x.min()) >= 0
    assert float(fit.x.max()) <= 1


def test_the_mismatch_never_grows() -> None:
    start = natural_images((3, 16, 16), 8, 0)
    target = start.mean((0, 2, 3)), start.var((0, 2, 3), correction=0)
    fit = from_batchnorm_statistics(lambda x, at: at("x", x), {"x": target}, start, 5, batch=8)
    assert fit.after <= fit.before < 1e-5
    assert torch.equal(fit.x, start)


def test_progress_counts_to_the_end_and_no_batch_is_one_sample() -> None:
    seen: list[float] = []
    sizes: list[int] = []

    def run(x: torch.Tensor, at: object) -> None:
        sizes.append(len(x))
        at("x", x)  # type: ignore[operator]

    target = torch.full((3,), 0.5), torch.full((3,), 0.1)
    start = natural_images((3, 16, 16), 9, 0)
    from_batchnorm_statistics(run, {"x": target}, start, 3, batch=4, progress=of_shares(seen.append))
    assert min(sizes) > 1
    assert seen[-1] == 1
    assert seen == sorted(seen)


# ---- whole models ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_are_refined_to_the_models_statistics_and_said() -> None:
    model = convolutional(True)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    graph = trace(model, torch.rand(2, 3, 16, 16))
    state = torch.get_rng_state()
    samples, again = synthesise(graph, 16, 0), synthesise(graph, 16, 0)
    assert samples.fingerprint == again.fingerprint
    assert samples.x.shape == (16, 3, 16, 16)
    assert samples.y is None
    assert "no data given: a natural-image prior" in samples.description
    assert "statistics of 2 BatchNorm layers (mismatch" in samples.description
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    statistics = batchnorm_statistics(graph)

    def total(x: torch.Tensor) -> float:
        parts: list[torch.Tensor] = []
        with torch.no_grad():
            graph.run((x,), lambda node, v: parts.append(mismatch(v, statistics[node])) if node in statistics else None)
        return float(sum(parts))

    assert total(samples.x) < 0.5 * total(natural_images((3, 16, 16), 16, 0))


@pytest.mark.slow
def test_images_of_another_range_are_the_same_images() -> None:
    class Stretched(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network((x + 1) / 4)

    model = convolutional(True)
    plain = synthesise(trace(model, torch.rand(2, 3, 16, 16)), 8, 0, steps=5).x
    graph = trace(Stretched(model).eval(), torch.rand(2, 3, 16, 16))
    wide = synthesise(graph, 8, 0, steps=5, values=ValueRange(-1.0, 3.0)).x
    assert torch.allclose((wide + 1) / 4, plain, atol=1e-3)


def test_without_statistics_the_prior_is_taken_and_said() -> None:
    samples = synthesise(trace(convolutional(False), torch.rand(2, 3, 16, 16)), 4, 0)
    assert torch.equal(samples.x, natural_images((3, 16, 16), 4, 0))
    assert samples.description == "4 synthetic samples, no data given: a natural-image prior (dead leaves, 1/f)"


def test_tokens_lie_within_the_vocabulary() -> None:
    model = nn.Sequential(nn.Embedding(37, 8), nn.Flatten(), nn.Linear(80, 2))
    samples = synthesise(trace(model, torch.zeros(2, 10, dtype=torch.long)), 64, 0)
    assert samples.x.dtype == torch.long
    assert int(samples.x.min()) == 0
    assert int(samples.x.max()) == 36
    assert "random token ids below 37" in samples.description
    assert len(torch.unique(samples.x)) == 37


def test_several_inputs_are_a_tuple_each_of_its_own_kind() -> None:
    class Rank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.item, self.fc = nn.Embedding(11, 4), nn.Embedding(5, 4), nn.Linear(11, 1)

        def forward(self, user: torch.Tensor, item: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.user(user), self.item(item), facts], 1))  # type: ignore[no-any-return]

    graph = trace(Rank(), (torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long), torch.rand(2, 3)))
    samples = synthesise(graph, 50, 0)
    assert [int(x.max()) for x in samples.x[:2]] == [10, 4]
    assert "random token ids below 11; random token ids below 5; uniform noise in [0, 1]" in samples.description
    assert graph(samples.x).shape == (50, 1)


def test_other_numbers_are_uniform_noise_and_said() -> None:
    samples = synthesise(trace(nn.Linear(13, 2), torch.rand(2, 13)), 500, 0)
    assert "uniform noise in [0, 1], since the input is no image" in samples.description
    assert float(samples.x.mean()) == pytest.approx(0.5, abs=0.02)  # 6500 draws: standard error 0.0036
    assert float(samples.x.var()) == pytest.approx(1 / 12, abs=0.005)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((3, 32, 32), True), ((1, 8, 8), True), ((64, 8, 8), False), ((3, 4, 4), False), ((80, 3000), False)],
)
def test_what_counts_as_an_image(shape: tuple[int, ...], image: bool) -> None:
    assert is_image(TensorSpec(shape, "float32")) is image
