"""Samples: what leakage and accuracy are measured on, from a tuple, a folder, a file or `digits`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.data.sample_checks import Prepared, check, prepare, resized, shown, tensors_of
from advisor.data.sample_files import ACCEPTED, read_digits, read_file, read_folder
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 2048


@dataclass(frozen=True)
class Samples:
    """Inputs and, where known, their labels.

    Attributes:
        x: `[N, ...]`, or a tuple or dict of such; float in [0, 1] for images.
        y: class of each sample `[N]` (int64), or None.
        description: what this is, for people: "CIFAR-10 test images, 512 of 4,000 at random".
        fingerprint: SHA-256 of the numbers, shapes and labels.
        notes: what was assumed or converted, one sentence each.
        classes: number of classes, where the source states it (a folder of class folders does).
    """

    x: Any
    y: Tensor | None
    description: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    classes: int | None = None

    def __len__(self) -> int:
        return len(tensors_of(self.x)[0])

    def take(self, index: Tensor) -> Samples:
        """The samples at these positions."""
        x = _map(self.x, lambda t: t[index])
        y = None if self.y is None else self.y[index]
        return replace(self, x=x, y=y, fingerprint=fingerprint(x, y))


def load_samples(
    data: Any,
    *,
    resize: int | tuple[int, int] | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    shape: tuple[int, ...] | None = None,
) -> Samples:
    """Read samples and check them.

    Args:
        data: `(x, y)` or `(x, None)` of tensors or arrays; a path; or "digits".
        resize: pixels of the shorter side, cropped to a square; or (height, width), exactly.
        limit: at most this many, drawn at random (files are often sorted by class).
        seed: of that draw.
        shape: one sample's shape that the model takes, used to size a folder's images.

    Raises:
        DataError: one line with the next step, for anything that cannot be used.
    """
    if isinstance(data, Samples):
        return _resized(_limited(data, limit, seed), resize)
    if isinstance(data, str | Path) and str(data) != "digits" and Path(data).is_dir():
        prepared, description, classes = read_folder(Path(data), resize, limit, seed, shape)
        return _built(prepared, description, classes)
    if isinstance(data, tuple | list):
        x, y = data if len(data) == 2 else (data, None)
        prepared, description = prepare(x, y), "the given samples"
    elif str(data) == "digits":
        prepared, description = read_digits()
    elif isinstance(data, str | Path):
        prepared, description = read_file(Path(data))
    else:
        raise DataError(f"Data of type {type(data).__name__} is not supported.", ACCEPTED)
    return _resized(_limited(_built(prepared, description), limit, seed), resize)


def _built(prepared: Prepared, description: str, classes: int | None = None) -> Samples:
    check(prepared)
    x, y, notes = prepared
    count = len(tensors_of(x)[0])
    return Samples(x, y, f"{description} ({count:,} samples)", fingerprint(x, y), notes, classes)


def split_holdout(n: int, seed: int = 0, fraction: float = 0.25) -> tuple[Tensor, Tensor]:
    """Positions of a random training part and of the rest, each sorted, at least one each.

    Raises:
        DataError: below two samples.
    """
    import torch

    if n < 2:
        raise DataError(f"{n} sample(s) cannot be divided into a training and a held-out part.", "Pass more samples.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held = min(max(round(n * fraction), 1), n - 1)
    return order[held:].sort().values, order[:held].sort().values


def check_against(samples: Samples, classes: int | None, input_shape: tuple[int, ...] | None = None) -> Samples:
    """Check the samples against a model's number of outputs and one sample's input shape.

    Args:
        samples: to check.
        classes: the model's outputs, or None where it is no classifier.
        input_shape: what the model takes, without batch.

    Returns:
        The samples, with a note where their labels use only some of the outputs.

    Raises:
        DataError: saying what was got and what was expected.
    """
    got = tuple(tensors_of(samples.x)[0].shape[1:])
    if input_shape is not None and got != tuple(input_shape):
        fits = len(got) == 3 == len(input_shape) and got[0] == input_shape[0]
        hint = (
            f"Pass --resize {input_shape[-1]}."
            if fits
            else "Pass data of that shape, or --input-shape if the model takes it."
        )
        raise DataError(f"The data has shape {shown(got)} a sample, the model takes {shown(input_shape)}.", hint)
    if classes is None or classes < 2 or samples.y is None:
        return samples
    highest = int(samples.y.max()) + 1
    if highest > classes or (samples.classes is not None and samples.classes != classes):
        raise DataError(
            f"The data has {samples.classes or highest} classes, the model has {classes} outputs.",
            "Pass the data that the model was trained for, or leave the labels out.",
        )
    if len(set(samples.y.tolist())) == classes:
        return samples
    note = f"The labels name {len(set(samples.y.tolist()))} of the model's {classes} outputs."
    return replace(samples, notes=(*samples.notes, note))


def fingerprint(x: Any, y: Tensor | None) -> str:
    """Hex SHA-256 over shapes, dtypes and numbers."""
    digest = hashlib.sha256()
    for tensor in [*tensors_of(x), *([] if y is None else [y])]:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _limited(samples: Samples, limit: int, seed: int) -> Samples:
    import torch

    n = len(samples)
    if limit < 2:
        raise DataError(f"A limit of {limit} samples leaves nothing to compare.", "Take at least 2.")
    if n <= limit:
        return samples
    index = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:limit].sort().values
    name = samples.description.rsplit(" (", 1)[0]
    return replace(samples.take(index), description=f"{name} ({limit:,} of {n:,} samples, drawn at random)")


def _resized(samples: Samples, resize: int | tuple[int, int] | None) -> Samples:
    from torch import Tensor

    if resize is None:
        return samples
    if not isinstance(samples.x, Tensor) or samples.x.dim() != 4:
        raise DataError("Only images [N, C, H, W] can be resized.", "Leave --resize out.")
    x = resized(samples.x, resize)
    note = f"Resized from {shown(tuple(samples.x.shape[2:]))} to {shown(tuple(x.shape[2:]))}."
    return replace(samples, x=x, fingerprint=fingerprint(x, samples.y), notes=(*samples.notes, note))


def _map(x: Any, function: Any) -> Any:
    if isinstance(x, dict):
        return {key: function(value) for key, value in x.items()}
    return tuple(function(v) for v in x) if isinstance(x, tuple | list) else function(x)
