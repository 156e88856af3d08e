"""Models that code of the user's builds: `package.module:factory` or `file.py:factory`, with or without arguments."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.architectures import random_torchvision, seeded
from advisor.loading.content import short
from advisor.support.import_path import modules_here
from advisor.support.model_names import TORCHVISION

if TYPE_CHECKING:
    from torch import nn

CALLED = re.compile(r"(?P<place>.+?:[\w.@-]+)(?P<inside>\(.*\))")
ARGUMENTS = "--arch 'torchvision:resnet18(num_classes=10)'"
SEEDS = (0, 1)


def build(name: str, option: str = "--arch", seed: int = 0) -> nn.Module:
    """The model that `package.module:factory`, `file.py:factory` or `torchvision:name` makes, in eval mode.

    Arguments stand after it in parentheses, as literals: `torchvision:resnet18(num_classes=10)`. What is named may be
    a model already.

    Args:
        name: what builds it.
        option: as which it was given, for messages.
        seed: what torch's generator starts from, on import and in the function; it is left as found.

    Raises:
        AdvisorError: when it cannot be found, fails, or gives no nn.Module.
    """
    from torch import nn

    said = f"{option} {short(name)}"
    place, arguments, keywords = _taken_apart(name, said)
    try:
        if place.startswith(TORCHVISION):
            architecture = place.removeprefix(TORCHVISION).removesuffix("@random")
            return random_torchvision(architecture, *arguments, seed=seed, **keywords)
        with modules_here():
            found = seeded(lambda: _named(place, said), seed)
            is_model = isinstance(found, nn.Module) and place == name
            model = found if is_model else seeded(lambda: found(*arguments, **keywords), seed)
    except AdvisorError:
        raise
    except (Exception, SystemExit) as error:
        raise AdvisorError(
            f"{said} failed: {type(error).__name__}: {short(error, 300)}.",
            f"Arguments go in parentheses: {ARGUMENTS}.",
        ) from error
    if not isinstance(model, nn.Module):
        raise AdvisorError(
            f"{said} gave a {type(model).__name__}, not an nn.Module.", "Name a function that returns one."
        )
    return model.eval()


def built(name: str) -> tuple[nn.Module, bool]:
    """The model that `name` makes with its weights, the same at every call, and whether those weights are random.

    They are where another seed of torch's generator gives others.
    """
    import torch

    model, other = (build(name, "MODEL", seed) for seed in SEEDS)
    ours, theirs = model.state_dict(), other.state_dict()
    same = ours.keys() == theirs.keys() and all(
        torch.equal(value, theirs[key]) for key, value in ours.items() if isinstance(value, torch.Tensor)
    )
    return model, not same


def _taken_apart(name: str, said: str) -> tuple[str, list[Any], dict[str, Any]]:
    """What stands before the parentheses, and the literals inside, by position and by name."""
    called = CALLED.fullmatch(name)
    if called is None:
        return name, [], {}
    try:
        call = ast.parse(f"f{called['inside']}", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("not one call")
        keywords = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        return called["place"], [ast.literal_eval(value) for value in call.args], keywords
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise AdvisorError(
            f"{said}: what stands in parentheses are no Python literals.", f"For example {ARGUMENTS}."
        ) from error


def _named(name: str, said: str) -> Any:
    place, _, wanted = name.rpartition(":")
    if not place or not wanted:
        raise AdvisorError(f"{said} is not of the form package.module:factory.", "For example resnet20:resnet20.")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise AdvisorError(
            f"{said}: cannot import {short(place)!r} ({type(error).__name__}: {short(error, 300)}).",
            "Run from the folder that holds it, or install its package.",
        ) from error
    found = getattr(module, wanted, None)
    if not callable(found):
        near = difflib.get_close_matches(wanted, [k for k, v in vars(module).items() if callable(v)], n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else "Check the name after the colon."
        raise AdvisorError(f"{said}: {getattr(module, '__file__', place)} has no function {wanted!r}.", hint)
    return found


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
