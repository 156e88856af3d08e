"""One image from disk: what it is goes by its bytes, how it is scaled by its bit depth."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.errors import DataError, first_line

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WEBP",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
"""First bytes of the formats that are read. No other decoder of Pillow is tried: some start programs."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
"""Names that say a file is an image; those of another format are refused, not passed over."""
ORIENTATION = 0x0112
"""EXIF tag: 1 is upright."""
MOST_PIXELS = 89_478_485
"""From which on Pillow warns of a decompression bomb."""
GREY, SIXTEEN = ("1", "L", "LA", "La", "I", "F"), "I;16"
READABLE = "PNG, JPEG, WebP, BMP, TIFF and GIF are read. Remove, replace or convert it."


@dataclass(frozen=True)
class Picture:
    """One image as its file has it.

    Attributes:
        values: `[C, H, W]` float32, not yet scaled.
        full: the value of white, where the format states it; None for 32-bit integers and floats, of any scale.
        notes: what was left out.
    """

    values: Tensor
    full: int | None
    notes: tuple[str, ...] = ()


def read_image(path: Path, channels: int | None = None) -> Picture:
    """Read an image: grey, RGB or RGBA for 1, 3 or 4 channels; None keeps grey images grey.

    Raises:
        DataError: not of the formats that are read, damaged, or too large.
    """
    import numpy as np
    import torch
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open(path, "rb") as file, Image.open(file, formats=[_format(path, file.read(12))]) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise DataError(
                        f"The image {path} has {image.width}×{image.height} pixels, more than {MOST_PIXELS:,}.",
                        "Remove it or make it smaller.",
                    )
                notes = _left_out(image, channels)
                mode = _mode(image.mode, channels)
                pixels = np.asarray(image if mode is None else image.convert(mode))
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError, KeyError, IndexError,
                TypeError, struct.error, Image.DecompressionBombError) as error:  # fmt: skip
            said = first_line(error, 200)
            raise DataError(f"The image {path} cannot be read: {said}.", READABLE) from None
    full = {1: 255, 2: 65535}.get(pixels.dtype.itemsize)
    values = torch.from_numpy(pixels.astype(np.float32)).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    if channels in (3, 4) and len(values) == 1:
        values = values.expand(channels, -1, -1)
        if channels == 4:
            values = torch.cat([values[:3], torch.full_like(values[:1], full or 1)])
    return Picture(values.contiguous(), full, notes)


def _format(path: Path, head: bytes) -> str:
    for magic, name in FORMATS.items():
        if head.startswith(magic) and (name != "WEBP" or head[8:12] == b"WEBP"):
            return name
    raise DataError(f"{path} is no image of a kind that is read.", READABLE)


def _mode(mode: str, channels: int | None) -> str | None:
    """What Pillow is to convert to; None where the numbers are kept (16 and 32 bits)."""
    if mode.startswith(SIXTEEN) or mode in ("I", "F"):
        return None
    wanted = channels or (1 if mode in GREY else 3)
    return {1: "L", 2: "LA", 4: "RGBA"}.get(wanted, "RGB")


def _left_out(image: Image.Image, channels: int | None) -> tuple[str, ...]:
    notes = []
    if getattr(image, "mode", "") in ("LA", "La", "RGBA", "RGBa", "PA") and channels not in (2, 4):
        notes.append("The images' alpha channel was left out.")
    if image.getexif().get(ORIENTATION, 1) != 1:
        notes.append(
            "Images that are marked as turned (EXIF) were taken as they are stored, as torchvision takes them."
        )
    if getattr(image, "n_frames", 1) > 1:
        notes.append("Of images with several frames the first was taken.")
    return tuple(notes)


def in_unit_range(pictures: list[Picture]) -> tuple[list[Tensor], tuple[str, ...]]:
    """The images `[C, H, W]` with white at 1: one scale for all whose format does not state theirs, and what was done.

    Whole numbers up to 255 or 65,535 are levels of 8 or 16 bits. Other numbers beyond [0, 1] are left as they are.
    """
    notes = [note for picture in pictures for note in picture.notes]
    unknown = [picture.values for picture in pictures if picture.full is None]
    scale = levels_of(unknown)
    if unknown and scale not in (None, 1):
        notes.append(f"Images of 32 bits were scaled from 0–{scale:,} to [0, 1].")
    if any(picture.full == 65535 for picture in pictures):
        notes.append("Images of 16 bits were scaled from 0–65,535 to [0, 1].")
    values = [picture.values / (picture.full or scale or 1) for picture in pictures]
    return values, tuple(dict.fromkeys(notes))


def levels_of(tensors: list[Tensor]) -> int | None:
    """White of numbers of unknown scale: 1, 255 or 65,535; None where they are no levels of brightness."""
    if not tensors or not all(t.numel() for t in tensors):
        return None
    low, high = min(float(t.min()) for t in tensors), max(float(t.max()) for t in tensors)
    if low >= 0 and high <= 1:
        return 1
    if low < 0 or high > 65535 or not all(bool((t == t.round()).all()) for t in tensors):
        return None
    return 255 if high <= 255 else 65535
