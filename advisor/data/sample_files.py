"""Samples from disk: arrays, tensors, and folders of images. No pickle is run, whatever the file's name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.data.sample_checks import Prepared, prepare, resized
from advisor.errors import AdvisorError, DataError

if TYPE_CHECKING:
    from torch import Tensor

PREFERRED = (("x_test", "y_test"), ("X_test", "y_test"), ("test_images", "test_labels"), ("x", "y"), ("X", "y"),
             ("data", "target"), ("images", "labels"), ("x_train", "y_train"), ("X_train", "y_train"),
             ("train_images", "train_labels"))  # fmt: skip
"""Names of samples and labels, the ones to evaluate on first."""
ACCEPTED = "Pass a folder of class folders, an .npz/.npy/.pt with x and y, or digits."


def read_digits() -> tuple[Prepared, str]:
    """scikit-learn's 1,797 images of digits, `[N, 1, 8, 8]` in [0, 1]."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return prepare((x / 16.0).reshape(-1, 1, 8, 8).astype("float32"), y), "scikit-learn's digits"


def read_file(path: Path) -> tuple[Prepared, str]:
    """Arrays from an `.npz`, `.npy` or `.pt`, told apart by their bytes; nothing in them is run.

    Raises:
        DataError: when it cannot be read, holds objects, or names no samples.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DataError(f"Cannot read the data {path}: {error.strerror}.", ACCEPTED) from None
    if head.startswith(b"\x93NUMPY"):
        arrays = {"x": _array(path, path.read_bytes())}
    elif head.startswith(b"PK\x03\x04"):
        arrays = _zipped(path)
    elif head.startswith(b"\x80"):
        arrays = _torch_file(path)
    else:
        raise DataError(f"{path} is no data file that this tool reads.", ACCEPTED)
    x, y, taken = _chosen(arrays, path)
    return prepare(x, y), f"{taken} of {path.name}"


def _zipped(path: Path) -> dict[str, Any]:
    """An `.npz`, or a `.pt` (also a zip). Members are read one by one: an `.npz` may hide a pickle among arrays."""
    from advisor.loading.archives import inspect_archive

    try:
        archive = inspect_archive(path)
    except AdvisorError as error:
        raise DataError(error.problem, "Save it again with numpy.savez.") from None
    if "data.pkl" in archive:
        return _torch_file(path)
    names = [name for name in archive.sizes if name.endswith(".npy")]
    if not names:
        raise DataError(f"{path} is a zip archive without arrays.", ACCEPTED)
    keys = {name.removesuffix(".npy") for name in names}
    wanted = {key for pair in PREFERRED if pair[0] in keys for key in pair} or keys
    return {key: _array(path, archive.read(f"{key}.npy")) for key in sorted(wanted & keys)}


def _array(path: Path, content: bytes) -> Any:
    import numpy as np

    try:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise DataError(
                f"{path} holds pickled objects, which are not loaded.", "Save plain arrays with numpy.savez."
            ) from None
        raise DataError(f"{path} is damaged: {error}.", "Save it again with numpy.savez.") from None
    except (EOFError, OSError, SyntaxError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged: {error}.", "Save it again with numpy.savez.") from None


def _torch_file(path: Path) -> dict[str, Any]:
    import torch

    from advisor.loading.quiet import quiet

    try:
        with open(path, "rb") as file, quiet():
            content = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:
        raise DataError(
            f"{path} holds more than tensors, and is not loaded.", "Save a dict or tuple of tensors with torch.save."
        ) from error
    if isinstance(content, torch.Tensor):
        return {"x": content}
    if isinstance(content, tuple | list) and len(content) == 2:
        return {"x": content[0], "y": content[1]}
    if isinstance(content, dict):
        return {str(k): v for k, v in content.items()}
    raise DataError(f"{path} holds a {type(content).__name__}.", "Save a dict with x and y.")


def _chosen(arrays: dict[str, Any], path: Path) -> tuple[Any, Any, str]:
    for x, y in PREFERRED:
        if x in arrays:
            return arrays[x], arrays.get(y), x if y not in arrays else f"{x} and {y}"
    if len(arrays) == 1:
        key = next(iter(arrays))
        return arrays[key], None, key
    raise DataError(f"{path} names none of its arrays x ({', '.join(sorted(arrays)[:5])}).", "Name them x and y.")


def read_folder(
    folder: Path, resize: int | tuple[int, int] | None, limit: int, seed: int, shape: tuple[int, ...] | None
) -> tuple[Prepared, str, int]:
    """At most `limit` images, drawn at random, of a folder of class folders; only those are opened.

    Returns:
        x `[N, C, H, W]` in [0, 1] with y, a description, and the number of classes.

    Raises:
        DataError: no class folders, one class, an unreadable image, or several sizes and none to bring them to.
    """
    import torch
    from torchvision.datasets import ImageFolder

    try:
        listing = ImageFolder(str(folder))
    except (FileNotFoundError, OSError) as error:
        raise DataError(
            f"{folder} is no folder of class folders with images: {str(error).splitlines()[0]}", ACCEPTED
        ) from None
    if len(listing.classes) < 2:
        raise DataError(f"{folder} holds one class, {listing.classes[0]!r}.", "Pass a folder with one folder a class.")
    order = torch.randperm(len(listing.samples), generator=torch.Generator().manual_seed(seed))[:limit].sort().values
    chosen = [listing.samples[int(i)] for i in order]
    wanted = resize if resize is not None else (_size_of(shape))
    images = [_image(Path(path), wanted, "L" if shape and shape[0] == 1 else "RGB") for path, _ in chosen]
    if len({image.shape for image in images}) > 1:
        raise DataError(f"The images in {folder} have several sizes.", "Pass --resize 224.")
    notes = (
        () if wanted is None else (f"Images were resized and cropped to {images[0].shape[1]}×{images[0].shape[2]}.",)
    )
    labels = torch.tensor([label for _, label in chosen])
    total = f"{folder.name}, {len(chosen):,} of {len(listing.samples):,} images at random"
    return (torch.stack(images), labels, notes), total, len(listing.classes)


def _size_of(shape: tuple[int, ...] | None) -> int | tuple[int, int] | None:
    if shape is None or len(shape) != 3:
        return None
    return shape[1] if shape[1] == shape[2] else (shape[1], shape[2])


def _image(path: Path, size: int | tuple[int, int] | None, mode: str) -> Tensor:
    """One image `[C, H, W]` in [0, 1]."""
    import numpy as np
    import torch
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"The image {path} cannot be read: {error}.", "Remove or replace it.") from None
    x = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1).float() / 255.0
    return x.contiguous() if size is None else resized(x[None], size)[0]
