from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from advisor.data.images.image_file import read_image
from advisor.data.images.image_folder import list_images
from advisor.data.samples import load_samples
from advisor.errors import DataError

RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
COLOURS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog", "eel"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    return tmp_path / "images"


def test_a_folder_of_class_folders(folder: Path) -> None:
    samples = load_samples(folder)
    assert samples.x.shape == (15, 3, 20, 30)
    assert samples.y is not None
    assert samples.y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert samples.classes == ("cat", "dog", "eel")
    with Image.open(folder / "cat" / "0.png") as image:
        np.testing.assert_allclose(samples.x[0].permute(1, 2, 0) * 255, np.array(image), atol=1e-4)


def test_a_folder_is_brought_to_the_models_size(folder: Path) -> None:
    samples = load_samples(folder, shape=(3, 16, 16))
    assert samples.x.shape == (15, 3, 16, 16)
    assert samples.notes == ("Images were resized and cropped to 16×16.",)
    assert load_samples(folder, shape=(1, 16, 16)).x.shape == (15, 1, 16, 16)
    assert load_samples(folder, shape=(16, 16, 4)).x.shape == (15, 4, 16, 16)
    assert load_samples(folder, resize=12, shape=(3, 16, 16)).x.shape == (15, 3, 12, 12)


def test_only_the_images_drawn_are_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    real = Image.open

    def counted(file: Any, **options: Any) -> Any:
        opened.append(file)
        return real(file, **options)

    monkeypatch.setattr(Image, "open", counted)
    listed = list_images(folder, 6, 1)
    assert not opened
    listed.decoded()
    assert len(opened) == 6
    assert listed.labels is not None
    assert len(set(listed.labels)) > 1


def test_class_folders_that_are_numbers_stand_in_numeric_order(tmp_path: Path) -> None:
    for k in range(12):
        (tmp_path / str(k)).mkdir()
        Image.new("L", (8, 8), k).save(tmp_path / str(k) / "a.png")
    samples = load_samples(tmp_path)
    assert samples.classes == tuple(map(str, range(12)))
    assert samples.y is not None
    assert torch.equal(samples.y, (samples.x[:, 0, 0, 0] * 255).round().long())


def test_images_without_class_folders_have_no_labels(folder: Path) -> None:
    flat = load_samples(folder / "cat")
    assert flat.y is None
    assert len(flat) == 5
    assert flat.notes == ("cat has no class folders: its images are taken without labels.",)
    assert load_samples(folder, labels=False).y is None
    one = load_samples(folder.parent)
    assert one.y is None
    assert "images has one class folder" not in one.notes[0]
    assert "one class folder, 'images'" in one.notes[0]
    Image.new("RGB", (30, 20)).save(folder / "loose.png")
    assert load_samples(folder).notes == ("1 image(s) beside the class folders of images were left out.",)


def test_an_empty_class_folder_keeps_its_place(folder: Path) -> None:
    for inner in (folder / "dog").iterdir():
        inner.unlink()
    (folder / "about").mkdir()
    (folder / "about" / "licence.txt").write_text("free")
    samples = load_samples(folder)
    assert samples.classes == ("cat", "dog", "eel")
    assert samples.y is not None
    assert samples.y.unique().tolist() == [0, 2]
    assert samples.notes == ("Empty class folders keep their place among the classes: dog.",)
    for inner in (folder / "eel").iterdir():
        inner.unlink()
    assert load_samples(folder).y is None


def test_what_systems_leave_beside_images_is_passed_over(folder: Path) -> None:
    (folder / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._cat.png").write_bytes(b"\0\5\x16\7")
    samples = load_samples(folder)
    assert (len(samples), samples.classes, samples.notes) == (15, ("cat", "dog", "eel"), ())


def test_that_images_are_marked_as_turned_is_said(folder: Path) -> None:
    image = Image.open(folder / "cat" / "0.png")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "cat" / "0.png", exif=exif)
    samples = load_samples(folder)
    assert samples.x.shape == (15, 3, 20, 30)
    assert samples.notes == (
        "Images that are marked as turned (EXIF) were taken as they are stored, as torchvision takes them.",
    )


def test_of_the_parts_of_a_data_set_one_is_taken(folder: Path) -> None:
    for part in ("train", "val"):
        (folder.parent / "set" / part).mkdir(parents=True)
        for label in ("cat", "dog"):
            (folder / label).rename(folder.parent / "set" / part / label)
        for label in ("cat", "dog"):
            (folder / label).mkdir()
            Image.new("RGB", (30, 20)).save(folder / label / "0.png")
    test = load_samples(folder.parent / "set")
    assert test.classes == ("cat", "dog")
    assert len(test) == 2
    assert test.notes == ("Of set the part val was taken.",)
    assert len(load_samples(folder.parent / "set", part="train")) == 10


def test_bad_folders_are_explained(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"holds no image\(s\)"):
        load_samples(tmp_path / "none")
    Image.new("RGB", (9, 9)).save(folder / "cat" / "small.png")
    with pytest.raises(DataError, match=r"several sizes.*--resize"):
        load_samples(folder)
    (folder / "dog" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"dog/0\.png is no image of a kind that is read"):
        load_samples(folder, resize=8)


@pytest.mark.parametrize(
    ("image", "name"),
    [(RAMP, "a.png"), (RAMP, "a.tiff"), (RAMP.astype(np.int32), "a.tiff"), ((RAMP / 65535).astype("f"), "a.tiff")],
)
def test_images_of_more_than_eight_bits_keep_their_scale(image: np.ndarray, name: str, tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(image).save(tmp_path / f"{i}{name}")
    for shape in ((1, 8, 8), (3, 8, 8)):
        x = load_samples(tmp_path, shape=shape).x
        np.testing.assert_allclose(x[0, -1], RAMP / 65535, atol=1e-6)
        assert x.shape[1] == shape[0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_gives_the_channels_that_the_model_takes(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(RAMP) if mode == "I;16" else Image.fromarray(COLOURS).convert(mode)
    image.save(tmp_path / "a.tiff" if mode in ("CMYK", "YCbCr", "I;16") else tmp_path / "a.png")
    path = next(tmp_path.iterdir())
    for channels in (1, 3, 4):
        picture = read_image(path, channels)
        assert picture.values.shape == (channels, 8, 8)
        assert picture.full == (65535 if mode == "I;16" else 255)
    if mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(read_image(path, 3).values, COLOURS.transpose(2, 0, 1))


# ---- hostile images --------------------------------------------------------------------------------------------------


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is no image of a kind that is read"),
        (lambda: b"8BPS\x00\x01" + b"\0" * 40, "is no image of a kind that is read"),
        (lambda: b"P4\n99999 99999\n", "is no image of a kind that is read"),
        (lambda: b"", "is no image of a kind that is read"),
        (lambda: _png(13000, 13000), r"has 13000×13000 pixels"),
        (lambda: _png(60000, 60000), "cannot be read"),
        (lambda: _png(0, 10), "cannot be read"),
        (lambda: _jpeg()[:300], "cannot be read"),
    ],
)
def test_hostile_images_are_one_line(content: Callable[[], bytes], match: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content())
    with pytest.raises(DataError, match=match) as caught:
        read_image(tmp_path / "x.png")
    assert "\n" not in str(caught.value)


def test_no_decoder_but_the_one_of_its_bytes_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def started(*arguments: object, **options: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(eps)
    with pytest.raises(DataError, match="no image of a kind"):
        read_image(tmp_path / "x.png")
