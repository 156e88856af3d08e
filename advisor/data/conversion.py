"""Samples brought to what the traced model asks for: axes moved, numbers scaled and cast, nothing else, each said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from advisor.data.casting import cast
from advisor.data.checks import check_finite, unequal_columns
from advisor.data.images.image_folder import ImageFolder
from advisor.data.images.resizing import resized
from advisor.data.layouts import image_layout, moved, moves_to
from advisor.data.samples import Samples, decoded
from advisor.data.synthetic.synthesis import vocabulary
from advisor.data.tensors import shown
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from advisor.cuts import TensorSpec
    from advisor.graph import PartitionGraph


def fitted(found: Samples | ImageFolder, graph: PartitionGraph, resize: int | tuple[int, int] | None = None) -> Samples:
    """The samples as this model takes them; the notes say what was done.

    Args:
        found: what was read.
        graph: the traced model.
        resize: pixels of the shorter side, cropped to a square; or (height, width).

    Raises:
        DataError: when they cannot be brought to the model's inputs.
    """
    specs = graph.inputs.tensors
    if isinstance(found, ImageFolder):
        if len(specs) > 1:
            raise DataError(f"The model takes {len(specs)} inputs, a folder has images alone.", "Pass an .npz.")
        found, resize = decoded(found, resize, specs[0].shape), None
    notes: list[str] = []
    parts = [fit_tensor(t, spec, notes, resize) for t, spec in zip(_in_order(found, graph, notes), specs, strict=True)]
    for tensor, source in zip(parts, graph.placeholders, strict=True):
        check_finite(tensor, "data")
        _check_ids(tensor, vocabulary(graph, source))
    keywords = graph.inputs.keywords
    x: Any = parts[0] if len(parts) == 1 else tuple(parts)
    if len(parts) > 1 and all(keywords):
        x = dict(zip(keywords, parts, strict=True))
    return found.of(x, found.y, *notes)


def _check_ids(x: Tensor, rows: int | None) -> None:
    if rows is None or x.is_floating_point() or not x.numel():
        return
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= rows:
        raise DataError(f"The data holds ids from {low:,} to {high:,}, the model knows {rows:,}.", "Pass its own ids.")


def _in_order(samples: Samples, graph: PartitionGraph, notes: list[str]) -> list[Tensor]:
    """One tensor an input of the model, by its names where the samples have several."""
    from torch import Tensor

    from advisor.inputs import flattened

    names, count = graph.argument_names, len(graph.inputs.tensors)
    if count == 1 and isinstance(samples.x, Tensor):
        return [samples.x]
    if isinstance(samples.x, Tensor) and samples.others:
        named = {key: value for key, value in samples.others.items() if key in names}
        first = [name for name in names if name not in named]
        if len(named) == count - 1 and len(first) == 1:
            notes.append(f"The model's other inputs were taken by name: {', '.join(named)}.")
            return [samples.x if name == first[0] else named[name] for name in names]
    if isinstance(samples.x, dict) and set(names) <= set(samples.x):
        return [samples.x[name] for name in names]
    if isinstance(samples.x, dict) and count == 1:
        if len(samples.x) == 1:
            return list(samples.x.values())
        raise DataError(
            f"The model takes one input, the data has {', '.join(sorted(samples.x)[:5])}.", "Name the samples x."
        )
    return flattened(samples.x, graph.in_spec, names)


def fit_tensor(x: Tensor, spec: TensorSpec, notes: list[str], resize: int | tuple[int, int] | None = None) -> Tensor:
    """One input `[N, ...]` in the shape and dtype of `spec`; what was done is appended to `notes`.

    Raises:
        DataError: when its shape or its numbers do not fit.
    """
    pictured = x.shape[1:]
    x = _sized(x, spec.shape, notes, resize) if resize is not None else x
    x = _laid_out(x, spec.shape, notes)
    x = cast(x, spec.dtype, tuple(pictured), notes)
    if x.is_floating_point():
        notes.extend(unequal_columns(x))
    return x


def _laid_out(x: Tensor, wanted: tuple[int, ...], notes: list[str]) -> Tensor:
    have = tuple(x.shape[1:])
    if have == wanted:
        return x
    if [s for s in have if s > 1] == [s for s in wanted if s > 1]:  # axes of one come and go
        return x.reshape(len(x), *wanted)
    moves = moves_to(have, wanted)
    if len(moves) == 1:
        notes.append(_move_said(have, *moves[0]))
        return moved(x, *moves[0])
    if (channels := _channels(x, wanted, notes)) is not None:
        return channels
    raise _misfit(have, wanted)


def _move_said(have: tuple[int, ...], source: int, target: int) -> str:
    if len(have) == 2:
        return f"The two axes of the samples ({shown(have)}) were exchanged, as the model takes them."
    if source == len(have) - 1 and target == 0:
        return "Channels were last; they now come first, as the model takes them."
    if source == 0 and target == len(have) - 1:
        return "Channels were first; they now come last, as the model takes them."
    return f"Axis {source + 1} of the samples is now axis {target + 1}, as the model takes them."


def _channels(x: Tensor, wanted: tuple[int, ...], notes: list[str]) -> Tensor | None:
    """Grey images repeated for a model of colours, the alpha channel left out; None where that is not what differs."""
    layout = image_layout(wanted)
    if layout is None:
        return None
    planes = x.unsqueeze(1) if x.dim() == 3 else x
    if planes.dim() == 4 and planes.shape[1] not in (1, 4) and planes.shape[3] in (1, 4):
        planes = planes.movedim(3, 1)
    if planes.dim() != 4 or tuple(planes.shape[2:]) != (layout.height, layout.width) or layout.channels != 3:
        return None
    if planes.shape[1] == 1:
        notes.append("Grey images were repeated for the model's three channels.")
        planes = planes.expand(-1, 3, -1, -1)
    elif planes.shape[1] == 4:
        notes.append("The images' alpha channel was left out.")
        planes = planes[:, :3]
    else:
        return None
    return (planes if layout.first else planes.movedim(1, 3)).contiguous()


def _sized(x: Tensor, wanted: tuple[int, ...], notes: list[str], resize: int | tuple[int, int]) -> Tensor:
    """Images resized in whatever layout they have; integers come back as integers."""
    layout, plane = image_layout(wanted), x.dim() == 3
    if layout is None or x.dim() not in (3, 4):
        raise DataError("Only images [N, C, H, W] can be resized.", "Leave --resize out.")
    planes = x.unsqueeze(1) if plane else x
    last = planes.shape[1] not in (1, 3, 4) and planes.shape[3] in (1, 3, 4)
    planes = planes.movedim(3, 1) if last else planes
    before, whole = planes.shape[2:], not x.is_floating_point()
    planes = resized(planes.float() if whole or x.element_size() < 4 else planes, resize)
    if tuple(before) != tuple(planes.shape[2:]):
        notes.append(f"Resized from {shown(before)} to {shown(planes.shape[2:])}.")
    planes = planes.round() if whole else planes
    back = planes.movedim(1, 3) if last else planes[:, 0] if plane else planes
    return back.to(x.dtype)


def _misfit(have: Sequence[int], wanted: tuple[int, ...]) -> DataError:
    got, layout = image_layout(tuple(have)), image_layout(wanted)
    fits = got is not None and layout is not None and got.channels == layout.channels
    hint = (
        f"Pass --resize {wanted[-1] if layout is None or layout.first else wanted[1]}."
        if fits
        else "Pass data of that shape, or --input-shape if the model takes it."
    )
    return DataError(f"The data has shape {shown(have)} a sample, the model takes {shown(wanted)}.", hint)
