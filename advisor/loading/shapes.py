"""The input of a model nobody described: shapes that its first layers admit, tried in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from torch import Tensor, nn

COLOUR_SIZES = (224, 32, 64, 28, 299, 96, 128, 256, 112, 160, 192, 240, 384, 512, 16, 8)
GREY_SIZES = (28, 32, 8, 64, 224, 16, 96, 128, 256)
LENGTHS = (16_000, 1024, 256, 128, 64, 3000, 32)
TOKENS = 32
SMALL_IMAGE_MAP = 28  # a last map this large at 224 pixels: the network was made for small images
Candidate = tuple[tuple[int, ...], bool]  # shape without batch, and whether it holds token ids


def infer_input_shape(model: nn.Module) -> tuple[tuple[int, ...], str]:
    """The first shape without batch that the model's first layers admit and its forward accepts, with a note on it.

    Raises:
        AdvisorError: when none fits; the message names `--input-shape`.
    """
    example, note = infer_example(model)
    return tuple(example.shape[1:]), note


def infer_example(model: nn.Module) -> tuple[Tensor, str]:
    """Like `infer_input_shape`, as a batch of two: zeros, or token ids for a model that begins with an embedding.

    The model is run in eval mode without gradients, and left as found.

    Raises:
        AdvisorError: when no shape fits; the message names `--input-shape`.
    """
    tried: list[str] = []
    for candidate in candidates(model):
        example = _example(model, candidate)
        if _runs(model, example):
            example = _smaller(model, example)
            shape = ",".join(map(str, example.shape[1:]))
            what = "token ids of shape" if candidate[1] else "input shape"
            return example, f"Assumed {what} {shape}, the first that the layers admit; --input-shape overrides it."
        tried.append("×".join(map(str, candidate[0])))
    listed = f" (tried {', '.join(tried[:8])}{', …' if len(tried) > 8 else ''})" if tried else ""
    raise AdvisorError(
        f"The input shape of this model cannot be inferred{listed}.",
        "State it without the batch, as --input-shape 3,224,224.",
    )


def example_of(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """A batch of two of that shape without batch: zeros, or token ids where the model takes those alone."""
    real, ids = _example(model, (shape, False)), _example(model, (shape, True))
    return ids if not _runs(model, real) and _runs(model, ids) else real


def candidates(model: nn.Module) -> Iterator[Candidate]:
    """Shapes worth trying, most likely first, each once."""
    seen: set[Candidate] = set()
    for candidate in _by_layers(model):
        if candidate not in seen:
            seen.add(candidate)
            yield candidate


def _by_layers(model: nn.Module) -> Iterator[Candidate]:
    """From the first weights of each rank: the order of registration is nearly always that of the calls."""
    from torch import nn

    def kind(module: nn.Module) -> str:
        return str(getattr(module, "original_name", type(module).__name__))  # TorchScript keeps the name alone

    flattens = any(kind(m) == "Flatten" for m in model.modules())
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding) or kind(m) == "Embedding"}
    grouped = {id(m.weight): m.groups for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)}
    ranks: set[int] = set()
    for name, weight in _weights(model):
        if "weight" not in name.rpartition(".")[2] or weight.dim() < 2:
            continue
        token = id(weight) in embeddings or ("embed" in name and weight.dim() == 2)
        rank = 0 if token else weight.dim()
        if rank in ranks:
            continue
        ranks.add(rank)
        yield from _admitted(rank, int(weight.shape[1]) * grouped.get(id(weight), 1), flattens)


def _weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters by name; of a frozen TorchScript module, which has none, its graph's constants in order of use."""
    import torch

    named: list[tuple[str, Tensor]] = list(model.named_parameters())
    if named or not isinstance(model, torch.jit.ScriptModule):
        return named
    graph: Any = model.inlined_graph
    read = [value.node() for node in graph.nodes() for value in node.inputs()]
    tensors = [n for n in read if n.kind() == "prim::Constant" and n.hasAttribute("value") and n.kindOf("value") == "t"]
    return [("weight", node.t("value")) for node in tensors]


def _admitted(rank: int, channels: int, flattens: bool) -> Iterator[Candidate]:
    if rank == 0:
        yield (TOKENS,), True
    elif rank == 2:
        yield from ((shape, False) for shape in _image_shapes(channels) if flattens)
        yield (channels,), False
        yield (TOKENS, channels), False
    elif rank == 3:
        yield from (((channels, length), False) for length in LENGTHS)
    elif rank == 4:
        yield from (((channels, size, size), False) for size in (GREY_SIZES if channels == 1 else COLOUR_SIZES))
    elif rank == 5:
        yield from (((channels, frames, size, size), False) for frames, size in ((16, 112), (8, 224), (16, 32)))


def _image_shapes(features: int) -> Iterator[tuple[int, ...]]:
    """Images whose pixels, flattened, are as many as a first linear layer takes."""
    for channels in (1, 3):
        size = math.isqrt(features // channels)
        if size >= 8 and channels * size * size == features:
            yield channels, size, size


def _example(model: nn.Module, candidate: Candidate) -> Tensor:
    """Zeros of the type of the model's weights, half or double too, or token ids."""
    import torch

    shape, tokens = candidate
    real = next((w.dtype for _, w in _weights(model) if w.is_floating_point()), torch.get_default_dtype())
    return torch.zeros(2, *shape, dtype=torch.long if tokens else real)


def _runs(model: nn.Module, example: Tensor, seen: list[Any] | None = None) -> bool:
    """Whether the model takes the example; sizes of feature maps are appended to `seen`."""
    import torch
    from torch.utils import _pytree as pytree

    from advisor.support.preserve import evaluating, left_as_found

    weight = next((w for _, w in _weights(model) if w.is_floating_point()), None)
    if weight is not None:
        example = example.to(weight.device, weight.dtype if example.is_floating_point() else None)
    with left_as_found(model), torch.no_grad():
        evaluating(model)
        hooks = [] if seen is None else _watch(model, seen)
        try:
            output = model(example)
        except Exception:  # noqa: BLE001 - a refusal in any words is the answer
            return False
        finally:
            for hook in hooks:
                hook.remove()
    tensors = [t for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
    return any(t.dim() > 0 and t.shape[0] == 2 for t in tensors)


def _watch(model: nn.Module, seen: list[Any]) -> list[Any]:
    from torch import nn

    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return [m.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[-2:]))) for m in convolutions]


def _smaller(model: nn.Module, example: Tensor) -> Tensor:
    """32 pixels for a network that pools to any size but downsamples too little to have been made for 224."""
    if tuple(example.shape[2:]) != (224, 224):
        return example
    maps: list[tuple[int, int]] = []
    _runs(model, example, maps)
    small = example[..., :32, :32].contiguous()
    return small if maps and min(maps[-1]) >= SMALL_IMAGE_MAP and _runs(model, small) else example
