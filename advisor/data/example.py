"""An example to trace a module with, from data: the layout and the dtype that its forward takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.data.images.image_folder import ImageFolder
from advisor.data.images.resizing import resized
from advisor.data.layouts import CHANNELS, image_layout, looks_like_pictures, moved
from advisor.data.samples import Samples
from advisor.data.tensors import mapped
from advisor.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def example_from(
    model: nn.Module, data: Samples | ImageFolder, resize: int | tuple[int, int] | None = None
) -> Any | None:
    """A batch of two that the model's forward takes, in the layout and dtype nearest to the data; None where none does.

    As it lies is tried first, then with the channels moved. Bytes of pictures are tried as real numbers first, other
    integers as ids. The model is run in eval mode without gradients and left as found.
    """
    import torch

    real = _real_dtype(model)
    if isinstance(data, ImageFolder):
        try:
            few = data.first(2).decoded(resize)[0]
        except DataError:
            return None  # several sizes: the layers or --input-shape tell
        variants = [few] if len(few[0]) > 1 else [few, few.expand(-1, 3, -1, -1)]
        return next((e for v in variants for e in _layouts(v.to(real)) if runs(model, e)), None)
    if not hasattr(data.x, "dim"):
        example = mapped(data.take(_two()).x, lambda t: t.to(real) if t.is_floating_point() else _ids(t))
        return example if runs(model, example) else None
    few = data.x[:2].clone()  # a view would hold all of them
    if resize is not None:
        few = _as_resized(few, resize)
    for dtype in _dtypes(few, real):
        for example in _layouts(few.to(dtype)):
            if runs(model, example):
                return example
    zeros = torch.zeros_like(few, dtype=torch.long)  # ids that the model does not know are told once it is traced
    return zeros if not few.is_floating_point() and runs(model, zeros) else None


def shapes_of(data: Samples) -> list[tuple[int, ...]]:
    """Shapes of one sample that a model may be run with: as it lies, and with its channels moved."""
    if not hasattr(data.x, "dim"):
        return []
    return list(dict.fromkeys(tuple(example.shape[1:]) for example in _layouts(data.x[:2])))


def _two() -> Tensor:
    import torch

    return torch.arange(2)


def _ids(x: Tensor) -> Tensor:
    return x if x.dtype.itemsize == 1 and str(x.dtype) == "torch.bool" else x.long()


def _dtypes(x: Tensor, real: torch.dtype) -> list[torch.dtype]:
    import torch

    if x.is_floating_point() or x.dtype == torch.bool:
        return [real, torch.long]
    pictures = x.dim() >= 4 and looks_like_pictures(tuple(x.shape[1:]))
    return [real, torch.long] if pictures else [torch.long, real]


def _layouts(x: Tensor) -> Iterator[Tensor]:
    """The example as it lies, with a channel axis moved to the front, to the end, or added."""
    yield x
    if x.dim() >= 4 and x.shape[-1] in CHANNELS:
        yield moved(x, x.dim() - 2, 0)
    if x.dim() >= 4 and x.shape[1] in CHANNELS:
        yield moved(x, 0, x.dim() - 2)
    if x.dim() == 5 and x.shape[2] in CHANNELS:  # a film, frames first
        yield moved(x, 1, 0)
    if x.dim() == 2:  # a series without an axis of channels
        yield x.unsqueeze(1)
    if x.dim() == 3:
        yield x.transpose(1, 2).contiguous()
        yield x.unsqueeze(1)
        yield x.unsqueeze(1).expand(-1, 3, -1, -1).contiguous()


def _as_resized(x: Tensor, resize: int | tuple[int, int]) -> Tensor:
    layout = image_layout(tuple(x.shape[1:]))
    if layout is None:
        return x
    planes = x.float() if layout.first else x.float().movedim(3, 1)
    y = resized(planes, resize)
    return (y if layout.first else y.movedim(1, 3)).contiguous().to(x.dtype)


def _real_dtype(model: nn.Module) -> torch.dtype:
    import torch

    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    return torch.get_default_dtype() if own is None else own


def runs(model: nn.Module, example: Any) -> bool:
    """Whether the model's forward takes the example and gives an output a sample."""
    import torch
    from torch.utils import _pytree as pytree

    from advisor.inputs import arguments
    from advisor.support.preserve import evaluating, left_as_found

    args, kwargs = arguments(example, model)
    with left_as_found(model), torch.no_grad():
        evaluating(model)
        try:
            output = model(*args, **kwargs)
        except Exception:  # noqa: BLE001 - a refusal in any words is the answer
            return False
    tensors = [t for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
    return any(t.dim() > 0 and t.shape[0] == 2 for t in tensors)
