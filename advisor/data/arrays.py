"""Arrays and tensors from disk, read once. No pickle is run, whatever the file's name."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.data.array_names import choose_names
from advisor.data.images.image_folder import ACCEPTED
from advisor.errors import AdvisorError, DataError, UnsafeFileError, first_line
from advisor.files import RecordedPath

if TYPE_CHECKING:
    from advisor.loading.content import Content

DAMAGED = (ValueError, EOFError, OSError, SyntaxError, RecursionError, OverflowError, TypeError,
           zipfile.BadZipFile, NotImplementedError, tokenize.TokenError)  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """What a source holds, as it is.

    Attributes:
        x: samples: an array or tensor, or a tuple or dict of them.
        y: labels, or None.
        description: what was taken, for people.
        notes: what was not, one sentence each.
        others: arrays beside them, by name, which a model of several inputs may take.
        sha256: hex, of the file's bytes; "" where it is no file.
    """

    x: Any
    y: Any
    description: str
    notes: tuple[str, ...] = ()
    others: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""


def read_digits() -> Raw:
    """scikit-learn's 1,797 images of digits, `[N, 1, 8, 8]` in [0, 1]."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Raw((x / 16.0).reshape(-1, 1, 8, 8).astype("float32"), y, "scikit-learn's digits")


def read_file(path: str | Path, part: str = "test") -> Raw:
    """Arrays from an `.npz`, `.npy` or `.pt`, told apart by their bytes; nothing in them is run.

    The file is opened once: what was checked, and hashed, is what is loaded.

    Args:
        path: the file; of a `RecordedPath` the bytes must have its hash.
        part: which part of a file that holds several: "test" or "train".

    Raises:
        DataError: when it cannot be read, is another than was recorded, holds objects, or names no samples.
    """
    from advisor.loading.content import read_content

    try:
        content = read_content(Path(path))
    except AdvisorError as error:
        raise DataError(f"Cannot read the data: {error.problem}", ACCEPTED) from None
    if isinstance(path, RecordedPath) and content.sha256 != path.sha256:
        raise DataError(f"{path} is not what the advice was made from (another SHA-256).", "Name the data again.")
    return replace(_read(content, part), sha256=content.sha256)


def _read(content: Content, part: str) -> Raw:
    if content.data.startswith(b"\x93NUMPY"):
        return Raw(_array(content.path, content.data), None, f"x of {content.path.name}")
    if content.data.startswith(b"PK\x03\x04"):
        return _zipped(content, part)
    if content.data.startswith(b"\x80"):
        return _torch_file(content, part)
    raise DataError(f"{content.path} is no data file that this tool reads.", ACCEPTED)


def _zipped(content: Content, part: str) -> Raw:
    """An `.npz`, or a `.pt` (also a zip). Members are read one by one: an `.npz` may hide a pickle among arrays."""
    from advisor.loading.archives import MAX_UNPACKED, inspect_archive

    try:
        archive = inspect_archive(content)
    except AdvisorError as error:
        raise DataError(error.problem, "Save it again with numpy.savez.") from None
    if "data.pkl" in archive:
        return _torch_file(content, part)
    names = [name.removesuffix(".npy") for name in archive.sizes if name.endswith(".npy")]
    if not names:
        raise DataError(f"{content.path} is a zip archive without arrays.", ACCEPTED)

    def read(name: str) -> Any:
        try:
            member = archive.read(f"{name}.npy", len(content.data) + MAX_UNPACKED)
        except AdvisorError as error:
            raise DataError(error.problem, "Save it again with numpy.savez.") from None
        return _array(content.path, member)

    return _chosen(content.path, names, read, part)


def _array(path: Path, data: bytes) -> Any:
    """One `.npy`, whose header may not claim more than the bytes that are there."""
    import numpy as np

    try:
        head = io.BytesIO(data)
        version = np.lib.format.read_magic(head)
        # version 3 is version 2 with other letters in the names of fields, which no samples have
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(head)
        if dtype.hasobject:
            raise DataError(
                f"{path} holds pickled objects, which are not loaded.", "Save plain arrays with numpy.savez."
            )
        if math.prod(shape) * max(dtype.itemsize, 1) > len(data):
            raise DataError(f"{path} is damaged: it claims more numbers than it holds.", "Save it again.")
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except DAMAGED as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} is damaged: {first_line(error, 200)}.", "Save it again with numpy.savez.")


def _torch_file(file: Content, part: str) -> Raw:
    import torch

    from advisor.loading.tensor_files import read_plain

    path = file.path
    try:
        content = read_plain(file)
    except UnsafeFileError as error:
        raise DataError(
            f"{path} holds more than tensors, and is not loaded.", "Save a dict or tuple of tensors with torch.save."
        ) from error
    except AdvisorError as error:
        raise DataError(error.problem, "Save a dict or tuple of tensors with torch.save.") from error
    if isinstance(content, torch.Tensor):
        return Raw(content, None, f"x of {path.name}")
    if isinstance(content, tuple | list) and len(content) == 2:
        return Raw(content[0], content[1], f"x and y of {path.name}")
    if isinstance(content, dict) and content:
        named = {str(key): value for key, value in content.items()}
        return _chosen(path, named, named.__getitem__, part)
    raise DataError(f"{path} holds a {type(content).__name__}.", "Save a dict with x and y.")


def _chosen(path: Path, names: Iterable[str], read: Any, part: str) -> Raw:
    chosen = choose_names(set(names), path, part)
    others = {name: read(name) for name in chosen.others}
    y = None if chosen.y is None else read(chosen.y)
    notes = (chosen.note,) if chosen.note else ()
    if chosen.x is None:
        return Raw(others, y, f"{chosen.said} of {path.name}", notes)
    return Raw(read(chosen.x), y, f"{chosen.said} of {path.name}", notes, others)
