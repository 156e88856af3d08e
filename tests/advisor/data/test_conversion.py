"""Only what the traced model asks for is moved, scaled and cast, and it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.cuts import TensorSpec
from advisor.data.conversion import fit_tensor, fitted
from advisor.data.example import example_from
from advisor.data.samples import load_samples
from advisor.errors import DataError
from advisor.loading.shapes import infer_example

RNG = np.random.default_rng(0)
BYTES = torch.tensor(RNG.integers(0, 256, (6, 10, 12, 3), dtype=np.uint8))
REALS = torch.rand(6, 10, 12, 3, generator=torch.Generator().manual_seed(0))


def fit(x: Tensor, shape: tuple[int, ...], dtype: str = "float32") -> tuple[Tensor, list[str]]:
    notes: list[str] = []
    return fit_tensor(x, TensorSpec(shape, dtype), notes), notes


def test_bytes_become_unit_floats_and_channels_come_first() -> None:
    x, notes = fit(BYTES, (3, 10, 12))
    np.testing.assert_allclose(x, BYTES.permute(0, 3, 1, 2) / 255, rtol=1e-6)
    assert notes == ["Channels were last; they now come first, as the model takes them.",
                     "Integers 0 to 255 were scaled to [0, 1]."]  # fmt: skip


def test_what_fits_is_left_as_it_is() -> None:
    for x in (REALS, torch.rand(6, 4)):
        same, notes = fit(x, tuple(x.shape[1:]))
        assert torch.equal(same, x)
        assert notes == []


@pytest.mark.parametrize(
    ("have", "wanted", "order"),
    [
        ((10, 12, 3), (3, 10, 12), (2, 0, 1)),
        ((3, 10, 12), (10, 12, 3), (1, 2, 0)),
        ((16, 3, 9, 9), (3, 16, 9, 9), (1, 0, 2, 3)),
        ((16, 9, 9, 3), (3, 16, 9, 9), (3, 0, 1, 2)),
        ((16, 9, 9, 3), (16, 3, 9, 9), (0, 3, 1, 2)),
        ((128, 6), (6, 128), (1, 0)),
    ],
)
def test_one_axis_moves_where_the_shape_asks_for_it(
    have: tuple[int, ...], wanted: tuple[int, ...], order: tuple[int, ...]
) -> None:
    x = torch.rand(2, *have)
    y, notes = fit(x, wanted)
    assert torch.equal(y, x.permute(0, *(1 + axis for axis in order)))
    assert len(notes) == 1
    assert len(have) > 2 or notes[0] == "The two axes of the samples (128×6) were exchanged, as the model takes them."


def test_axes_of_one_come_and_go() -> None:
    x = torch.rand(5, 8, 8)
    assert fit(x, (1, 8, 8))[0].shape == (5, 1, 8, 8)
    assert fit(x[..., None], (1, 8, 8))[0].shape == (5, 1, 8, 8)
    assert fit(x[:, None], (8, 8))[0].shape == (5, 8, 8)


def test_grey_images_become_colours_and_alpha_goes() -> None:
    grey = torch.rand(4, 1, 8, 8)
    assert torch.equal(fit(grey, (3, 8, 8))[0], grey.expand(4, 3, 8, 8))
    assert fit(grey[:, 0], (8, 8, 3))[0].shape == (4, 8, 8, 3)
    colours = torch.rand(4, 4, 8, 8)
    kept, notes = fit(colours, (3, 8, 8))
    assert torch.equal(kept, colours[:, :3])
    assert notes == ["The images' alpha channel was left out."]


@pytest.mark.parametrize(
    ("x", "scale", "said"),
    [
        (BYTES[..., 0], 255, "0 to 255 were scaled"),
        (BYTES[..., 0].long(), 255, "0 to 255 were scaled"),
        (BYTES[..., 0].int() * 257, 65535, "0 to 65,535 were scaled"),
        (BYTES[..., 0].int() * 16, 65535, ": where 4,095 is white, divide by it first"),
        (BYTES[..., 0].int() - 1000, 1, "from -1,000 to -745 were taken as real numbers, not scaled"),
        (BYTES[:, 0, :, 0].clamp(max=99), 1, "were taken as real numbers, not scaled"),  # a table of counts
        (torch.randint(-9000, 9000, (3, 16000), dtype=torch.int16), 32768, "Sound of 16 bits was divided by 32,768"),
        (torch.randint(0, 256, (3, 784), dtype=torch.uint8).index_fill(1, torch.tensor([0]), 255), 255, "to [0, 1]"),
    ],
)
def test_integers_are_scaled_where_they_are_brightness_or_sound(x: Tensor, scale: int, said: str) -> None:
    y, notes = fit(x, tuple(x.shape[1:]))
    torch.testing.assert_close(y, (x.double() / scale).float())
    assert said in notes[0]


def test_ids_stay_ids_whatever_their_type() -> None:
    ids = torch.randint(0, 100, (6, 12))
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32):
        x, _ = fit(ids.to(dtype), (12,), "int64")
        assert torch.equal(x, ids)
    with pytest.raises(DataError, match="holds real numbers, the model takes int64"):
        fit(torch.rand(6, 12), (12,), "int64")
    with pytest.raises(DataError, match=r"lies in \[0, 300\], the model takes uint8"):
        fit(torch.tensor([[0, 300]]), (2,), "uint8")


def test_a_model_of_bytes_gets_bytes() -> None:
    x, notes = fit(REALS, (10, 12, 3), "uint8")
    assert torch.equal(x, (REALS * 255).round().to(torch.uint8))
    assert notes == ["Images in [0, 1] were scaled to the integers 0 to 255 that the model takes."]
    assert torch.equal(fit(BYTES, (10, 12, 3), "uint8")[0], BYTES)


def test_masks_and_truth_values() -> None:
    mask = torch.tensor([[0, 1], [1, 1]])
    assert fit(mask, (2,), "bool")[0].dtype == torch.bool
    assert torch.equal(fit(mask.bool(), (2,))[0], mask.float())
    with pytest.raises(DataError, match="takes a mask of truth values"):
        fit(mask * 2, (2,), "bool")


def test_half_models_get_half_inputs_and_overflow_is_refused() -> None:
    x, notes = fit(REALS, (10, 12, 3), "float16")
    assert x.dtype == torch.float16
    assert notes == ["The samples were cast to float16, as the model takes them."]
    assert fit(REALS.double(), (10, 12, 3))[0].dtype == torch.float32
    with pytest.raises(DataError, match=r"reaches 1e\+05, the model takes float16"):
        fit(torch.full((2, 3), 1e5), (3,), "float16")


def test_what_lies_beyond_the_unit_range_is_said() -> None:
    assert "not in [0, 1]; taken as they are" in fit(REALS * 4 - 2, (10, 12, 3))[1][0]


def test_other_shapes_are_refused_with_the_next_step() -> None:
    with pytest.raises(DataError, match=r"shape 3×8×8 a sample, the model takes 3×32×32. Pass --resize 32"):
        fit(torch.rand(2, 3, 8, 8), (3, 32, 32))
    with pytest.raises(DataError, match=r"the model takes 1×8×8. Pass data of that shape"):
        fit(torch.rand(2, 3, 8, 8), (1, 8, 8))


def test_resizing_keeps_layout_and_type() -> None:
    notes: list[str] = []
    x = fit_tensor(BYTES, TensorSpec((3, 8, 8), "float32"), notes, 8)
    assert x.shape == (6, 3, 8, 8)
    assert float(x.max()) <= 1
    assert notes[0] == "Resized from 10×12 to 8×8."


def test_a_column_that_outweighs_the_others_is_named() -> None:
    table = torch.tensor(RNG.random((50, 4), dtype=np.float32))
    assert fit(table, (4,))[1] == []
    table[:, 2] *= 1000
    (note,) = fit(table, (4,))[1]
    assert note.startswith("Column 2 of the samples varies by ")
    assert "errors follow the widest" in note
    assert fit(torch.ones(50, 4), (4,))[1] == []


# ---- with a model ----------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Takes an image and an age."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(64, 4)

    def forward(self, image: Tensor, age: Tensor) -> Tensor:
        return self.f(image.flatten(1)) * age  # type: ignore[no-any-return]


def test_inputs_of_a_model_of_several_are_found_by_name() -> None:
    torch.manual_seed(0)
    graph = advisor.trace(Two().eval(), (torch.zeros(2, 1, 8, 8), torch.zeros(2, 1)))
    images, ages = torch.rand(6, 8, 8, 1), torch.rand(6, 1)
    for data in (((images, ages), None), ({"age": ages, "image": images}, None)):
        found = fitted(load_samples(data), graph)
        image, age = graph.flat(found.x)
        assert torch.equal(image, images.permute(0, 3, 1, 2))
        assert torch.equal(age, ages)


def test_arrays_of_a_file_are_found_by_name(tmp_path: Any) -> None:
    graph = advisor.trace(Two().eval(), (torch.zeros(2, 1, 8, 8), torch.zeros(2, 1)))
    arrays = {"image": np.ones((6, 1, 8, 8), "f"), "age": np.arange(6.0)[:, None], "label": np.arange(6) % 2}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    found = fitted(load_samples(tmp_path / "a.npz"), graph)
    assert torch.equal(graph.flat(found.x)[1], torch.arange(6.0)[:, None])
    single = advisor.trace(nn.Linear(4, 2), torch.zeros(2, 4))
    with pytest.raises(DataError, match="takes one input, the data has left, right"):
        fitted(load_samples(({"left": np.ones((3, 4)), "right": np.ones((3, 4))}, None)), single)


def test_ids_that_the_model_does_not_know_are_refused() -> None:
    graph = advisor.trace(nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 2)), torch.zeros(2, 5, dtype=torch.long))
    ids = torch.arange(30).reshape(6, 5)
    with pytest.raises(DataError, match="holds ids from 0 to 29, the model knows 20"):
        fitted(load_samples((ids, None)), graph)
    assert torch.equal(fitted(load_samples((ids % 20, None)), graph).x, ids % 20)


def test_ids_that_a_module_does_not_know_are_told_as_such() -> None:
    model = nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 2))
    data = load_samples((torch.arange(30).reshape(6, 5), None))
    with pytest.raises(DataError, match="holds ids from 0 to 29, the model knows 20"):
        fitted(data, advisor.trace(model, example_from(model, data)))


def test_masked_values_are_refused() -> None:
    with pytest.raises(DataError, match=r"hold masked values.*filled\(0\)"):
        load_samples((np.ma.masked_greater(np.ones((4, 3)), 0.5), None))
    load_samples((np.ma.masked_greater(np.ones((4, 3)), 2), None))


def test_trying_a_forward_leaves_what_it_writes() -> None:
    class Counts(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    model = Counts(6, 3)
    model.register_buffer("calls", torch.zeros(()))
    assert example_from(model, load_samples((torch.rand(4, 6), None))) is not None
    assert infer_example(model)[0].shape == (2, 6)
    assert int(model.calls) == 0


@pytest.mark.parametrize(
    ("model", "x", "shape", "dtype"),
    [
        (nn.Conv2d(3, 2, 3), BYTES, (3, 10, 12), torch.float32),
        (nn.Conv2d(3, 2, 3).half(), BYTES, (3, 10, 12), torch.float16),
        (nn.Sequential(nn.Flatten(), nn.Linear(360, 2)), REALS, (10, 12, 3), torch.float32),
        (nn.Sequential(nn.Flatten(), nn.Linear(360, 2)).double(), REALS, (10, 12, 3), torch.float64),
        (nn.Embedding(256, 4), BYTES[:, :, 0, 0], (10,), torch.int64),
        (nn.Linear(10, 2), BYTES[:, :, 0, 0], (10,), torch.float32),
        (nn.Conv2d(1, 2, 3), REALS[..., 0], (1, 10, 12), torch.float32),
        (nn.Conv1d(12, 2, 3), REALS[..., 0], (12, 10), torch.float32),
        (nn.Conv1d(1, 2, 3), torch.zeros(4, 99, dtype=torch.int16), (1, 99), torch.float32),
    ],
)
def test_a_module_is_traced_with_what_its_forward_takes(
    model: nn.Module, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    example = example_from(model, load_samples((x, None)))
    assert example.shape == (2, *shape)
    assert example.dtype == dtype
