"""Samples as a model takes them, and the reasons to refuse them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

WITHOUT = "leave the labels out: accuracy is then held against the model's own output."
Prepared = tuple[Any, "Tensor | None", tuple[str, ...]]
"""x (a tensor `[N, ...]`, or a tuple or dict of them), y `[N]` int64 or None, and notes on what was converted."""

UNEQUAL = 30
"""Times the spread of the median column from which on one of a table decides every squared error."""


def prepare(x: Any, y: Any) -> Prepared:
    """Arrays or tensors as the model takes them; says what was converted.

    Raises:
        DataError: on objects, text or complex numbers, or labels that are no class numbers.
    """
    notes: list[str] = []
    if isinstance(x, dict):
        x = {key: _input(value, notes) for key, value in x.items()}
    elif isinstance(x, tuple | list):
        x = tuple(_input(value, notes) for value in x)
    else:
        x = _input(x, notes)
    return x, None if y is None else _labels(y), tuple(dict.fromkeys(notes))


def _tensor(value: Any, what: str) -> Tensor:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise DataError(f"The {what} are of type {array.dtype}, not numbers.", "Pass numeric arrays.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def _input(value: Any, notes: list[str]) -> Tensor:
    """Numbers as the model takes them: images as float [0, 1] and channels first; token ids stay integers."""
    import torch

    x = _tensor(value, "samples")
    if x.is_complex():
        raise DataError("The samples are complex numbers.", "Pass real numbers.")
    if x.dim() == 0:
        raise DataError("The samples have no batch dimension.", "Pass an array [N, ...].")
    if x.dim() == 4 and x.shape[1] not in (1, 3, 4) and x.shape[3] in (1, 3):
        x = x.permute(0, 3, 1, 2).contiguous()
        notes.append("Channels were last; they now come first.")
    if x.dtype == torch.bool:
        return x.float()
    if not x.is_floating_point():
        if x.dtype == torch.uint8 or (x.dim() == 4 and x.numel() and 1 < int(x.max()) <= 255 and int(x.min()) >= 0):
            notes.append("Integers 0 to 255 were scaled to [0, 1].")
            return x.float() / 255.0
        return x.long()
    if x.dim() == 4 and x.numel() and (float(x.max()) > 1 or float(x.min()) < 0):
        notes.append(
            f"The images lie in [{float(x.min()):.3g}, {float(x.max()):.3g}], not in [0, 1]; taken as they are."
        )
    notes.extend(_unequal_columns(x))
    return x if x.dtype == torch.get_default_dtype() else x.to(torch.get_default_dtype())


def _unequal_columns(x: Tensor) -> list[str]:
    """A note where one column of a table outweighs all others."""
    if x.dim() != 2 or len(x) < 2 or not bool((spread := x.std(0)).any()):
        return []
    widest, usual = float(spread.max()), float(spread[spread > 0].median())
    if widest <= UNEQUAL * usual:
        return []
    varies = f"Column {int(spread.argmax())} of the samples varies by {widest:.3g}, the median one by {usual:.3g}"
    return [f"{varies}: errors follow the widest; give all on like scales to weigh them alike."]


def _labels(value: Any) -> Tensor:
    y = _tensor(value, "labels")
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dim() == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all()):
        y = y.argmax(1)
    if y.dim() != 1:
        shape = shown(tuple(y.shape))
        raise DataError(
            f"The labels have shape {shape}, not one class a sample.", f"Pass class numbers [N], or {WITHOUT}"
        )
    if y.is_floating_point() and not bool((y == y.round()).all()):
        raise DataError("The labels are no whole numbers.", f"Pass class numbers from 0, or {WITHOUT}")
    y = y.long()
    if y.numel() and int(y.min()) < 0:
        raise DataError(f"The labels go down to {int(y.min())}.", "Pass class numbers from 0.")
    return y


def check(prepared: Prepared) -> None:
    """Refuse samples from which nothing could be measured.

    Raises:
        DataError: empty, one sample, NaN or infinity, labels of another length, or of one class only.
    """
    x, y, _ = prepared
    tensors = tensors_of(x)
    if not tensors or any(len(t) == 0 for t in tensors):
        raise DataError("The data is empty.", "Pass at least 2 samples, better 256.")
    n = len(tensors[0])
    if any(len(t) != n for t in tensors):
        raise DataError(
            f"The inputs have different numbers of samples: {', '.join(str(len(t)) for t in tensors)}.", "Align them."
        )
    if n == 1:
        raise DataError("The data has one sample; nothing can be held out or compared.", "Pass at least 2, better 256.")
    for tensor in tensors:
        _check_finite(tensor)
    if y is not None and len(y) != n:
        raise DataError(f"There are {n} samples but {len(y)} labels.", "Pass one label a sample.")
    if y is not None and len(set(y.tolist())) == 1:
        raise DataError(
            f"All {n} labels are {int(y[0])}: one class tells nothing about leakage.",
            "Pass several classes, or no labels.",
        )


def _check_finite(tensor: Tensor) -> None:
    import torch

    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        bad = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(1)
        first = int(bad.nonzero()[0])
        raise DataError(f"The data holds NaN or infinity, first in sample {first}.", "Remove or repair those samples.")


def resized(x: Tensor, resize: int | tuple[int, int]) -> Tensor:
    """Images `[N, C, H, W]`: shorter side at `resize` and a square crop of the middle, or exactly (height, width).

    Bilinear with antialiasing; sizes and crops as torchvision's Resize and CenterCrop round them.
    """
    from torch.nn import functional as F

    if isinstance(resize, int):
        height, width = x.shape[2:]
        scale = resize / min(height, width)
        size = (max(int(height * scale), resize), max(int(width * scale), resize))
    else:
        size = resize
    if min(size) < 1:
        raise DataError(f"Images cannot be resized to {shown(size)}.", "Pass --resize 224.")
    y = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
    if isinstance(resize, int):
        top, left = round((size[0] - resize) / 2), round((size[1] - resize) / 2)
        y = y[..., top : top + resize, left : left + resize]
    return y.contiguous()


def tensors_of(x: Any) -> list[Tensor]:
    """The tensors of a tensor, tuple or dict of them, in order."""
    from torch import Tensor

    parts = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else (x,)
    return [part for part in parts if isinstance(part, Tensor)]


def shown(shape: Sequence[int]) -> str:
    """A shape for people: 3×224×224."""
    return "×".join(map(str, shape)) or "scalar"
