from __future__ import annotations

import gc
import weakref

import torch

from advisor.measures.gram_matrices import (
    centred_blocks,
    pixel_gram,
    rounding_floor,
    sample_gram,
    squared_distances,
    train_kernel,
)
from advisor.testing.made_up_views import gram_of, normal, view_of


def test_blocks_are_centred_on_the_train_mean_alone() -> None:
    z = normal(12, 5) + 3
    train, test = torch.tensor([1, 4, 5, 8, 11]), torch.tensor([0, 7])
    inner, cross = centred_blocks(gram_of(z), train, test)
    moved = z - z[train].mean(0)
    assert torch.allclose(inner, moved[train] @ moved[train].T)
    assert torch.allclose(cross, moved[test] @ moved[train].T)


def test_distances_are_those_between_samples() -> None:
    z = normal(12, 5) + 3
    assert torch.allclose(squared_distances(gram_of(z)).sqrt(), torch.cdist(z, z), atol=1e-6)


def test_pixels_are_taken_about_the_attackers_mean() -> None:
    targets = view_of(normal(12, 5)).targets
    pixels = targets.pixels - targets.pixels[targets.train].mean(0)
    assert torch.allclose(pixel_gram(targets).float(), pixels @ pixels.T, atol=1e-5)


def test_rounding_stays_below_its_floor_and_signal_above() -> None:
    """Rank five in 3,000 dimensions: 5 eigenvalues are real, the other 295 are rounding."""
    z = (normal(300, 5) @ normal(5, 3000, seed=1)).float()
    gram = view_of(z).gram
    values = torch.linalg.eigvalsh(gram)
    floor = rounding_floor(300, float(gram.diagonal().mean()))
    assert int((values.abs() > floor).sum()) == 5
    assert values[:295].abs().max() > floor / 1000


def test_a_constant_tensor_has_a_gram_of_exact_zeros() -> None:
    z = torch.full((20, 1000), 5.3)
    z[:10] += 1e-6  # one rounding step of 5.3 is 5e-7
    assert not sample_gram(view_of(z)).any()
    assert sample_gram(view_of(z + normal(20, 1000).float() * 1e-3)).any()


def test_shared_work_is_done_once_and_goes_with_its_view() -> None:
    view = view_of(normal(20, 5))
    kernel = train_kernel(view)
    assert train_kernel(view) is kernel
    seen = weakref.ref(kernel)
    del kernel, view
    gc.collect()
    assert seen() is None
