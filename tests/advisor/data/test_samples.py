from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch

from advisor.data.images.resizing import resized
from advisor.data.samples import Samples, fingerprint, load_samples, read
from advisor.errors import DataError
from advisor.files import RecordedPath
from advisor.loading import content
from tests.hostile import Payload

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(20, 3, 8, 8, generator=GENERATOR)
Y = torch.arange(20) % 5


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_a_tuple_is_taken_as_it_is() -> None:
    samples = load_samples((X, Y))
    assert torch.equal(samples.x, X)
    assert samples.y is not None
    assert torch.equal(samples.y, Y)
    assert len(samples) == 20
    assert samples.fingerprint == fingerprint(X, Y)
    assert load_samples((X, None)).y is None


def test_digits_are_scikit_learns_in_the_unit_interval() -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    samples = load_samples("digits")
    assert samples.x.shape == (1797, 1, 8, 8)
    np.testing.assert_allclose(samples.x[:, 0].numpy(), data.images / 16)
    np.testing.assert_array_equal(samples.y, data.target)
    assert float(samples.x.max()) == 1.0


def _save(path: Path, form: str, arrays: dict[str, torch.Tensor]) -> Path:
    if form == "npz":
        np.savez(path, **{k: v.numpy() for k, v in arrays.items()})  # type: ignore[arg-type]
        return path.with_name(path.name + ".npz")
    torch.save(arrays, path)
    return path


@pytest.mark.parametrize("form", ["npz", "pt"])
@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("x", "y"), "x and y"),
        (("x_train", "y_train"), "x_train and y_train"),
        (("X", "y"), "X and y"),
        (("data", "target"), "data and target"),
    ],
)
def test_files_of_arrays_say_what_was_taken(form: str, names: tuple[str, str], taken: str, tmp_path: Path) -> None:
    samples = load_samples(_save(tmp_path / "data", form, dict(zip(names, (X, Y), strict=True))))
    assert torch.equal(samples.x, X)
    assert samples.description.startswith(f"{taken} of data")


@pytest.mark.parametrize("form", ["npz", "pt"])
def test_test_data_is_preferred(form: str, tmp_path: Path) -> None:
    arrays = {"x_train": X * 0, "y_train": Y, "x_test": X[:10], "y_test": Y[:10]}
    samples = load_samples(_save(tmp_path / "data", form, arrays))
    assert torch.equal(samples.x, X[:10])
    assert "x_test and y_test" in samples.description


def test_npy_and_bare_tensors_have_no_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X.numpy())
    torch.save(X, tmp_path / "b")
    torch.save((X, Y), tmp_path / "c")
    assert load_samples(tmp_path / "a.npy").y is None
    assert load_samples(str(tmp_path / "b")).y is None
    assert load_samples(tmp_path / "c").y is not None


def test_numbers_stay_as_they_are_until_a_model_is_known() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 12, 3), dtype=np.uint8)
    samples = load_samples((pixels, np.arange(6)))
    np.testing.assert_array_equal(samples.x.numpy(), pixels)
    assert samples.x.dtype == torch.uint8
    assert samples.notes == ()


def test_several_inputs_stay_a_tuple_or_dict() -> None:
    pair = load_samples(((X, Y.float()[:, None]), Y))
    assert isinstance(pair.x, tuple)
    assert len(pair) == 20
    named = load_samples(({"image": X, "age": Y.float()[:, None]}, Y), limit=7)
    assert named.x["image"].shape == (7, 3, 8, 8)
    assert named.x["age"].shape == (7, 1)


# ---- limit and hold-out ----------------------------------------------------------------------------------------------


def test_a_limit_draws_at_random_and_repeats() -> None:
    x, y = torch.arange(1000.0)[:, None], torch.arange(1000) // 100  # sorted by class
    first, second, other = (load_samples((x, y), limit=200, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.x, second.x)
    assert first.fingerprint == second.fingerprint
    assert not torch.equal(first.x, other.x)
    assert first.y is not None
    assert torch.equal(first.y, first.x[:, 0].long() // 100)
    assert int(torch.bincount(first.y, minlength=10).min()) >= 8  # 20 expected; below 8 has probability 1e-3
    assert "200 of 1,000 samples, drawn at random" in first.description


def test_loading_leaves_the_global_generator() -> None:
    state = torch.get_rng_state()
    load_samples((X, Y), limit=5)
    assert torch.equal(torch.get_rng_state(), state)


# ---- sizes -----------------------------------------------------------------------------------------------------------


def test_resize_matches_torchvision() -> None:
    from torchvision.transforms import v2

    x = torch.rand(2, 3, 40, 61, generator=GENERATOR)
    oracle = v2.Compose([v2.Resize(24, antialias=True), v2.CenterCrop(24)])(x)
    assert resized(x, 24).shape == (2, 3, 24, 24)
    torch.testing.assert_close(resized(x, 24), oracle)
    assert resized(x, (20, 30)).shape == (2, 3, 20, 30)


# ---- bad input -------------------------------------------------------------------------------------------------------


def _with_nan() -> torch.Tensor:
    x = X.clone()
    x[7, 0, 0, 0] = float("nan")
    return x


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ((X[:0], Y[:0]), "The data is empty"),
        ((X[:1], Y[:1]), "one sample"),
        ((X, torch.zeros(20)), r"All 20 labels are 0: one class"),
        ((_with_nan(), Y), "NaN or infinity, first in sample 7"),
        ((X / 0, Y), "NaN or infinity, first in sample 0"),
        ((X, Y[:5]), "20 samples but 5 labels"),
        ((X, Y.double() / 0), "The labels hold NaN or infinity, first in sample 0"),
        ((np.array(["a", "b"]), None), r"samples are of type <U1"),
        ((np.array([{}, {}], dtype=object), None), "samples are of type object"),
        ((X, np.array(["cat"] * 20)), "labels are of type <U3"),
        ((torch.complex(X, X), Y), "complex numbers"),
        ((torch.tensor(3.0), None), "no batch dimension"),
        (((X, X[:3]), Y), "different numbers of samples: 20, 3"),
        (((), None), "The data is empty"),
        ((X.to_sparse(), None), "The samples are a sparse tensor"),
        ((X.to("meta"), None), "The samples are a meta tensor"),
        ((torch.nested.nested_tensor([X[0], X[1]]), None), "The samples are a nested tensor"),
        ((torch.zeros(1).expand(10**9, 1, 10, 10), None), "The samples repeat 4 bytes to a shape"),
        ((np.full((4, 2), 2**64 - 1, dtype=np.uint64), None), r"integers above 2\^63"),
        (([[1.0, 2.0], [3.0]], None), "rows of different lengths"),
        (17, "Data of type int"),
    ],
)
def test_bad_samples_are_refused_in_one_line(data: Any, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load_samples(data)
    assert "\n" not in str(caught.value)
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_pickles_in_data_files_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    np.savez(tmp_path / "object.npz", x=np.array([Payload(mark)], dtype=object))
    np.save(tmp_path / "object.npy", np.array([Payload(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Payload(mark)))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Payload(mark)))
    torch.save({"x": Payload(mark)}, tmp_path / "torch.npz")
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as file:
        file.writestr("x.npy", pickle.dumps(Payload(mark)))
    matches = {
        "object.npz": "pickled objects",
        "object.npy": "pickled objects",
        "pickle.npz": "more than tensors",
        "pickle.npy": "more than tensors",
        "torch.npz": "more than tensors",
        "member.npz": "damaged",
    }
    for name, match in matches.items():
        with pytest.raises(DataError, match=match):
            load_samples(tmp_path / name)
    assert not mark.exists()


def test_damaged_and_foreign_files_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X.numpy(), y=Y.numpy())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:500])
    np.savez(tmp_path / "names.npz", **{f"k{i}": X.numpy() for i in range(20)})  # type: ignore[arg-type]
    (tmp_path / "text").write_text("hello")
    np.save(tmp_path / "whole.npy", X.numpy())
    (tmp_path / "half.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:3000])
    for name, match in {
        "cut.npz": "truncated or damaged",
        "names.npz": r"none of its arrays x \(k0, k1, k10, k11, k12\)",
        "text": "no data file",
        "half.npy": "damaged",
        "missing": "Cannot read the data",
    }.items():
        with pytest.raises(DataError, match=match):
            load_samples(tmp_path / name)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_declared_size_is_not_allocated(version: int, tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000000,), }"
    header += b" " * (118 - len(header)) + b"\n"
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY" + bytes((version, 0)) + size + header)
    with pytest.raises(DataError, match=r"x\.npy is damaged: it claims more numbers than it holds"):
        load_samples(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x04\x00" + size + header)
    with pytest.raises(DataError, match=r"x\.npy is damaged"):
        load_samples(tmp_path / "x.npy")


def test_names_of_fields_beyond_latin_make_a_third_kind_of_header(tmp_path: Path) -> None:
    """Such arrays are no samples; that is said, not a damage."""
    np.save(tmp_path / "x.npy", np.zeros(3, dtype=[("\u0394", "f4")]))
    assert (tmp_path / "x.npy").read_bytes()[6] == 3
    with pytest.raises(DataError, match=r"dtype|numbers") as caught:
        load_samples(tmp_path / "x.npy")
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.pt"])
def test_the_bytes_that_are_checked_are_those_that_are_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes another file in its place as soon as it was read: what was read is taken, under its own hash."""
    path, other = tmp_path / name, tmp_path / f"other-{name}"
    for place, values in ((path, X), (other, 1 - X)):
        if name == "x.npz":
            np.savez(place, x=values.numpy())
        elif name == "x.npy":
            np.save(place, values.numpy())
        else:
            torch.save(values, place)
    expected, whole = hashlib.sha256(path.read_bytes()).hexdigest(), content.opened

    @contextmanager
    def swapped(place: Path) -> Iterator[BinaryIO]:
        with whole(place) as file:
            yield file
        other.rename(path)

    monkeypatch.setattr(content, "opened", swapped)
    samples = load_samples(path)
    assert torch.equal(samples.x, X)
    assert samples.sha256 == expected
    assert not other.exists()


def test_a_recorded_file_that_is_swapped_before_it_is_read_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.numpy())
    right = hashlib.sha256((tmp_path / "x.npy").read_bytes()).hexdigest()
    assert load_samples(RecordedPath(str(tmp_path / "x.npy"), right)).sha256 == right
    np.save(tmp_path / "x.npy", 1 - X.numpy())
    with pytest.raises(DataError, match=r"x\.npy is not what the advice was made from \(another SHA-256\)\. Name the"):
        load_samples(RecordedPath(str(tmp_path / "x.npy"), right))


def test_samples_are_frozen() -> None:
    samples = load_samples((X, Y))
    assert isinstance(samples, Samples)
    with pytest.raises(AttributeError):
        samples.x = X  # type: ignore[misc]


def test_a_pipe_is_refused_at_once_and_so_is_a_header_cut_off(tmp_path: Path) -> None:
    """Opening a pipe would wait for somebody who writes."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a pipe, socket or device, not a file"):
        read(tmp_path / "pipe")
    np.save(tmp_path / "x.npy", np.zeros((4, 2), np.float32))
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(data.replace(b"'shape': (4, 2), }", b"'shape': (4, 2L, ["))
    with pytest.raises(DataError, match=r"x\.npy is damaged: .*Save it again"):
        read(tmp_path / "x.npy")


@pytest.mark.parametrize(("bit", "said"), [(0, "encrypted"), (5, "patched data"), (6, "strong encryption")])
def test_an_archive_that_no_reader_here_can_open_is_one_line(tmp_path: Path, bit: int, said: str) -> None:
    """Each flag of a zip member that Python's reader gives up on."""
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 3), np.float32))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[data.find(b"PK\x03\x04") + 6] |= 1 << bit
    data[data.find(b"PK\x01\x02") + 8] |= 1 << bit
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(DataError, match=rf"x\.npz is (damaged|refused): .*{said}.*Save it again"):
        read(tmp_path / "x.npz")


def test_images_are_resized_where_that_is_asked_for() -> None:
    assert load_samples((torch.rand(2, 3, 40, 61), [0, 1]), resize=16).notes == ("Resized from 40×61 to 16×16.",)
    with pytest.raises(DataError, match=r"Only images \[N, C, H, W\]"):
        load_samples((torch.rand(4, 7), None), resize=8)
