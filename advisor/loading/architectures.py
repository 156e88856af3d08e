"""Models that are named rather than stored: torchvision's, and `package.module:factory`, with or without arguments."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.import_path import modules_here
from advisor.loading.content import Content, read_content, short

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision:"
CALLED = re.compile(r"(?P<place>.+?:[\w.@-]+)(?P<inside>\(.*\))")
ARGUMENTS = "--arch 'torchvision:resnet18(num_classes=10)'"
Normalization = tuple[tuple[float, ...], tuple[float, ...]]


def build(arch: str) -> nn.Module:
    """The model that `package.module:factory`, `file.py:factory` or `torchvision:name` makes, in eval mode.

    Arguments stand after it in parentheses, as literals: `torchvision:resnet18(num_classes=10)`.

    Raises:
        AdvisorError: when it cannot be found, fails, or gives no nn.Module.
    """
    from torch import nn

    place, arguments, keywords = _taken_apart(arch)
    try:
        if place.startswith(TORCHVISION):
            name = place.removeprefix(TORCHVISION).removesuffix("@random")
            return random_torchvision(name, *arguments, **keywords)
        with modules_here():
            model = _factory(place)(*arguments, **keywords)
    except AdvisorError:
        raise
    except (Exception, SystemExit) as error:
        raise AdvisorError(
            f"--arch {short(arch)} failed: {type(error).__name__}: {short(error, 300)}.",
            f"Arguments go in parentheses: {ARGUMENTS}.",
        ) from error
    if not isinstance(model, nn.Module):
        raise AdvisorError(
            f"--arch {short(arch)} gave a {type(model).__name__}, not an nn.Module.",
            "Name a function that returns one.",
        )
    return model.eval()


def _taken_apart(arch: str) -> tuple[str, list[Any], dict[str, Any]]:
    """What stands before the parentheses, and the literals inside, by position and by name."""
    called = CALLED.fullmatch(arch)
    if called is None:
        return arch, [], {}
    try:
        call = ast.parse(f"f{called['inside']}", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("not one call")
        keywords = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        return called["place"], [ast.literal_eval(value) for value in call.args], keywords
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise AdvisorError(
            f"--arch {short(arch)}: what stands in parentheses are no Python literals.",
            f"For example {ARGUMENTS}.",
        ) from error


def _factory(arch: str) -> Callable[[], Any]:
    place, _, name = arch.rpartition(":")
    if not place or not name:
        raise AdvisorError(
            f"--arch {short(arch)!r} is not of the form package.module:factory.", "For example resnet20:resnet20."
        )
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise AdvisorError(
            f"--arch {short(arch)}: cannot import {short(place)!r} ({type(error).__name__}: {short(error, 300)}).",
            "Run from the folder that holds it, or install its package.",
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        near = difflib.get_close_matches(name, [k for k, v in vars(module).items() if callable(v)], n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else "Check the name after the colon."
        raise AdvisorError(
            f"--arch {short(arch)}: {getattr(module, '__file__', place)} has no function {name!r}.", hint
        )
    return factory  # type: ignore[no-any-return]


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def random_torchvision(name: str, *arguments: Any, seed: int = 0, **keywords: Any) -> nn.Module:
    """A torchvision architecture with random weights: the same at every call; the global generator is left as found."""
    import torch

    _known(name)
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        return _get_model(name, None, *arguments, **keywords).eval()
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
