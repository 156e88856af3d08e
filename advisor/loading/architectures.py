"""Architectures of torchvision by name, with cached or random weights."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from advisor.errors import AdvisorError
from advisor.loading.content import Content, read_content, short

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
Normalization = tuple[tuple[float, ...], tuple[float, ...]]


def random_torchvision(name: str, *arguments: Any, seed: int = 0, **keywords: Any) -> nn.Module:
    """A torchvision architecture with random weights: the same at every call; the global generator is left as found."""
    _known(name)
    return seeded(lambda: _get_model(name, None, *arguments, **keywords).eval(), seed)


def seeded(make: Callable[[], T], seed: int) -> T:
    """What `make` gives where torch's generator starts from `seed`; the generator is left as found."""
    import torch

    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        return make()
    finally:
        torch.set_rng_state(state)


def pretrained_torchvision(name: str) -> tuple[nn.Module, Any, Content] | None:
    """The model with weights that are already cached, the weights' entry and file; None when none are.

    Nothing is downloaded; the file is read once, by the restricted reader, and torchvision is given what was read.
    """
    import torch

    from advisor.loading.tensor_files import read_plain

    for weights in available_weights(name):
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        if not path.is_file():
            continue
        content = read_content(path)
        try:
            with _instead_of_the_file(type(weights), read_plain(content)):
                return _get_model(name, weights).eval(), weights, content
        except Exception as error:
            raise AdvisorError(
                f"The cached weights {path} cannot be loaded: {short(error, 200)}.", "Delete the file."
            ) from error
    return None


@contextlib.contextmanager
def _instead_of_the_file(entries: Any, state: Any) -> Iterator[None]:
    """Torchvision would open the cached file once more; inside, it gets the state dict that was read from it."""
    entries.get_state_dict = lambda self, *arguments, **keywords: state
    try:
        yield
    finally:
        del entries.get_state_dict


def available_weights(name: str) -> list[Any]:
    """All published weights of a torchvision architecture, the default first."""
    from torchvision.models import get_model_weights

    _known(name)
    entries = list(get_model_weights(name))
    default = getattr(get_model_weights(name), "DEFAULT", None)
    return sorted(entries, key=lambda w: w is not default)


def transform_facts(weights: Any) -> tuple[tuple[int, ...] | None, Normalization | None]:
    """Input shape of one sample and normalisation that belong to torchvision weights, where they state them."""
    transform = weights.transforms()
    mean, std = getattr(transform, "mean", None), getattr(transform, "std", None)
    crop = list(getattr(transform, "crop_size", None) or [])
    shape = (3, *(crop * 2 if len(crop) == 1 else crop)) if crop and not _is_video(weights) else None
    return shape, (tuple(mean), tuple(std)) if mean is not None and std is not None else None


def _is_video(weights: Any) -> bool:
    return "Video" in type(weights.transforms()).__name__


def _get_model(name: str, weights: Any, *arguments: Any, **keywords: Any) -> nn.Module:
    from torchvision.models import get_model, get_model_builder

    parameters = inspect.signature(get_model_builder(name)).parameters
    # detection and segmentation would otherwise download a backbone
    backbone = {"weights_backbone": None} if "weights_backbone" in parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_model(name, *arguments, weights=weights, **backbone, **keywords)  # type: ignore[no-any-return]


def _known(name: str) -> None:
    from torchvision.models import list_models

    if name in list_models():
        return
    near = difflib.get_close_matches(name, list_models(), n=3)
    raise AdvisorError(
        f"torchvision has no model {short(name)!r}.",
        f"Did you mean {', '.join(near)}?" if near else "See torchvision.models.list_models().",
    )
