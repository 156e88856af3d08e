"""A mistyped model is answered at once, with near names; nothing heavy is imported for it."""

from __future__ import annotations

import difflib
import re
from importlib.util import find_spec
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.model_names import TORCHVISION, is_code
from advisor.safe_text import shell_words

BUILT = ("timm:", "hf:")
"""Prefixes that look like torchvision's, of models that others build."""
NEAREST = 3
FORMS = "Check the path, or name torchvision:resnet18, or a function of yours: net.py:make --trust."


def check_model_is_there(model: str) -> None:
    """Refuse a path that does not exist, unless it names a model of torchvision, or code that builds one.

    Models of timm and Hugging Face are not known by name.

    Raises:
        AdvisorError: with what was probably meant.
    """
    if (Path(model) / "advice.json").is_file():
        raise AdvisorError(
            f"{model} holds an advice, not a model.", f"Ask of it again with --from {shell_words([model])}."
        )
    if model.startswith(TORCHVISION) or Path(model).exists():
        return
    if model.startswith(BUILT) and "(" not in model:
        raise AdvisorError(
            f"{model[:80]}: only torchvision's models are known by name.",
            "Name a function of yours that builds it, net.py:make --trust, or save it with torch.export.save.",
        )
    if is_code(model):
        return
    near = [f"torchvision:{name}" for name in difflib.get_close_matches(model.lower(), torchvision_names(), 1, 0.8)]
    near += difflib.get_close_matches(Path(model).name, _neighbours(Path(model)), NEAREST)
    meant = f"Did you mean {' or '.join(near)}?" if near else FORMS
    raise AdvisorError(f"There is no file {model}.", meant)


def torchvision_names() -> list[str]:
    """Names of torchvision's classifiers, read from its source: importing it takes seconds."""
    found = find_spec("torchvision")
    places = found.submodule_search_locations if found is not None else None
    if not places:
        return []
    sources = sorted((Path(places[0]) / "models").glob("*.py"))
    pattern = re.compile(r"^@register_model\(\)[^\n]*\n(?:@[^\n]*\n)*def (\w+)\(", re.MULTILINE)
    return [name for path in sources for name in pattern.findall(path.read_text(encoding="utf-8"))]


def _neighbours(path: Path) -> list[str]:
    """Names beside the path; its own is there where it is a link that leads nowhere."""
    try:
        return sorted(inner.name for inner in path.parent.iterdir() if inner.name != path.name)
    except OSError:
        return []
