"""Samples: what leakage and accuracy are measured on, from a tuple, a folder, a file or `digits`.

The road: `read` takes what there is as it is; `conversion.fitted` brings it to what the traced model asks for;
`tasks.understood` says what its labels mean; `roles.drawn` divides it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.data.arrays import Raw, read_digits, read_file
from advisor.data.checks import check_usable
from advisor.data.images.image_folder import ACCEPTED, ImageFolder, list_images
from advisor.data.images.resizing import resized
from advisor.data.layouts import image_layout
from advisor.data.tensors import as_tensor, as_tensors, mapped, shown, tensors_of
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 2048


@dataclass(frozen=True)
class Samples:
    """Inputs and, where known, their labels.

    Attributes:
        x: `[N, ...]`, or a tuple or dict of such; as the source has them until they are fitted to a model.
        y: labels `[N, ...]`, or None.
        description: what this is, for people: "CIFAR-10 test images, 512 of 4,000 at random".
        fingerprint: SHA-256 of the numbers, shapes and labels.
        notes: what was assumed or converted, one sentence each.
        classes: names of the classes, where the source states them (a folder of class folders does).
        others: arrays that lie beside them, by name, which a model of several inputs may take.
        sha256: hex, of the bytes of the file they were read from; "" where it was none.
    """

    x: Any
    y: Tensor | None
    description: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    others: dict[str, Tensor] = field(default_factory=dict)
    sha256: str = ""

    def __len__(self) -> int:
        return len(tensors_of(self.x)[0])

    @property
    def labels(self) -> Tensor | None:
        """Class of each sample `[N]` (int64); None where the labels are something else, or absent."""
        import torch

        return self.y if self.y is not None and self.y.dim() == 1 and self.y.dtype == torch.long else None

    def take(self, index: Tensor) -> Samples:
        """The samples at these positions."""
        y = None if self.y is None else self.y[index]
        return self.of(mapped(self.x, lambda t: t[index]), y, others={k: t[index] for k, t in self.others.items()})

    def of(self, x: Any, y: Tensor | None, *notes: str, **changes: Any) -> Samples:
        """The same samples with other numbers."""
        kept = tuple(dict.fromkeys((*self.notes, *notes)))
        return replace(self, x=x, y=y, fingerprint=fingerprint(x, y), notes=kept, **changes)


def load_samples(
    data: Any,
    *,
    resize: int | tuple[int, int] | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    shape: tuple[int, ...] | None = None,
    labels: bool = True,
    part: str = "test",
) -> Samples:
    """Read samples and check them; the images of a folder are decoded.

    Args:
        data: `(x, y)` or `(x, None)` of tensors or arrays; a path; or "digits".
        resize: pixels of the shorter side, cropped to a square; or (height, width), exactly.
        limit: at most this many, drawn at random (files are often sorted by class).
        seed: of that draw.
        shape: one sample's shape that the model takes, used to size a folder's images.
        labels: whether labels are read, where there are any.
        part: which part of a file that holds several: "test" or "train".

    Raises:
        DataError: one line with the next step, for anything that cannot be used.
    """
    found = read(data, limit=limit, seed=seed, labels=labels, part=part)
    if isinstance(found, ImageFolder):
        return decoded(found, resize, shape)
    return found if resize is None else _resized(found, resize)


def read(
    data: Any, *, limit: int = LIMIT, seed: int = 0, labels: bool = True, part: str = "test"
) -> Samples | ImageFolder:
    """What the user gave, as it is and checked; the images of a folder are listed only.

    Args:
        data: `(x, y)` or `(x, None)` of tensors or arrays; a path; "digits"; or samples that were read before.
        limit: at most this many, drawn at random (files are often sorted by class).
        seed: of that draw.
        labels: whether labels are read, where there are any.
        part: which part of a file that holds several: "test" or "train".

    Raises:
        DataError: one line with the next step, for anything that cannot be used.
    """
    if isinstance(data, Samples | ImageFolder):
        return limited(data, limit, seed) if isinstance(data, Samples) else data
    if isinstance(data, str | Path) and str(data) != "digits" and Path(data).is_dir():
        return list_images(Path(data), limit, seed, labels, part)
    return limited(_checked(_raw(data, part), labels), limit, seed)


def _raw(data: Any, part: str) -> Raw:
    if isinstance(data, tuple | list):
        x, y = data if len(data) == 2 else (data, None)
        return Raw(x, y, "the given samples")
    if isinstance(data, str | Path):
        return read_digits() if str(data) == "digits" else read_file(data, part)
    raise DataError(f"Data of type {type(data).__name__} is not supported.", ACCEPTED)


def _checked(raw: Raw, labels: bool) -> Samples:
    x = as_tensors(raw.x)
    y = as_tensor(raw.y, "labels") if labels and raw.y is not None else None
    check_usable(x, y)
    count = len(tensors_of(x)[0])
    named = {name: as_tensor(value, "samples") for name, value in raw.others.items()}
    others = {name: value for name, value in named.items() if len(value) == count}
    return Samples(x, y, f"{raw.description} ({count:,} samples)", "", raw.notes, others=others, sha256=raw.sha256)


def decoded(
    folder: ImageFolder, resize: int | tuple[int, int] | None = None, shape: tuple[int, ...] | None = None
) -> Samples:
    """A folder's images `[N, C, H, W]` in [0, 1], sized and coloured for inputs of that shape, where there is one.

    Raises:
        DataError: an unreadable image, or several sizes and none to bring them to.
    """
    import torch

    layout = None if shape is None else image_layout(shape)
    size = resize if resize is not None else None if layout is None else layout.size
    x, notes = folder.decoded(size, None if layout is None else layout.channels)
    y = None if folder.labels is None else torch.tensor(folder.labels)
    return Samples(x, y, f"{folder.description} ({len(x):,} samples)", "", (), folder.classes).of(
        x, y, *folder.notes, *notes
    )


def fingerprint(x: Any, y: Tensor | None) -> str:
    """Hex SHA-256 over shapes, dtypes and numbers."""
    import torch

    digest = hashlib.sha256()
    for tensor in [*tensors_of(x), *([] if y is None else [y])]:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def limited(samples: Samples, limit: int, seed: int) -> Samples:
    """At most `limit` of the samples, drawn at random.

    Raises:
        DataError: on a limit below two.
    """
    import torch

    n = len(samples)
    if limit < 2:
        raise DataError(f"A limit of {limit} samples leaves nothing to compare.", "Take at least 2.")
    if n <= limit:
        return samples.of(samples.x, samples.y)
    index = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:limit].sort().values
    name = samples.description.rsplit(" (", 1)[0]
    return replace(samples.take(index), description=f"{name} ({limit:,} of {n:,} samples, drawn at random)")


def _resized(samples: Samples, resize: int | tuple[int, int]) -> Samples:
    from torch import Tensor

    if not isinstance(samples.x, Tensor) or samples.x.dim() != 4 or not samples.x.is_floating_point():
        raise DataError("Only images [N, C, H, W] can be resized.", "Leave --resize out.")
    x = resized(samples.x, resize)
    return samples.of(x, samples.y, f"Resized from {shown(samples.x.shape[2:])} to {shown(x.shape[2:])}.")
