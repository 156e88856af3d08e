"""What is mistyped is answered at once, with near names; nothing heavy is imported for it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from advisor.data.images.image_folder import ACCEPTED
from advisor.errors import AdvisorError
from advisor.recorded import BUILT_IN_DATA
from advisor.support.model_names import TORCHVISION, is_code
from advisor.support.safe_text import shell_words

BUILT = ("timm:", "hf:")
"""Prefixes that look like torchvision's, of models that others build."""
NEAREST = 3
REGISTERED = re.compile(r"^@register_model\((?:name=\"(\w+)\")?\)$.*?^def (\w+)\(", re.MULTILINE | re.DOTALL)
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
    if Path(model).exists():
        return
    _check_torchvision(model)
    if model.startswith(TORCHVISION):
        return
    if model.startswith(BUILT) and "(" not in model:
        raise AdvisorError(
            f"{model[:80]}: only torchvision's models are known by name.",
            "Name a function of yours that builds it, net.py:make --trust, or save it with torch.export.save.",
        )
    if is_code(model):
        return
    near = [f"torchvision:{name}" for name in difflib.get_close_matches(model.lower(), torchvision_names(), 1, 0.8)]
    raise AdvisorError(f"There is no file {model}.", _meant([*near, *_near_files(model)]) or FORMS)


def check_given(
    data: Iterable[str | Path | None] = (), arch: str | None = None, machines: Iterable[str] = (),
    links: Iterable[str] = (), extra: str | Path | None = None,
) -> None:  # fmt: skip
    """Refuse data, code, devices and links that are not there.

    Args:
        data: each a file, a folder or a built-in name; None where none is given.
        arch: code that builds the model, or None.
        machines: devices and clouds.
        links: presets, or bandwidth and latency.
        extra: a file with the user's own devices and links.

    Raises:
        AdvisorError: with what was probably meant.
    """
    from advisor import profilers

    for text in map(str, filter(None, data)):
        if text not in BUILT_IN_DATA and not Path(text).exists():
            near = difflib.get_close_matches(text, BUILT_IN_DATA, 1, 0.7) + _near_files(text)
            raise AdvisorError(f"Cannot read the data: there is no file {text}.", _meant(near) or ACCEPTED)
    _check_torchvision((arch or "").partition("(")[0])
    file = (arch or "").partition(".py:")[0] + ".py" if ".py:" in (arch or "") else ""
    if file and not Path(file).is_file():
        raise AdvisorError(f"--arch {arch}: there is no file {file}.", _meant(_near_files(file)) or "Check the path.")
    for text in machines:
        profilers.device(text, extra)
    for text in links:
        profilers.link(text, extra)


def _check_torchvision(model: str) -> None:
    """Refuse torchvision's detectors, and names that are near to one of its models and none of them."""
    name = model.removeprefix(TORCHVISION).removesuffix("@random")
    if name in torchvision_names("detection"):
        raise AdvisorError(
            f"{model} is a detector: how many boxes there are depends on the image.",
            "Name a function of yours that returns its backbone, net.py:make --trust: its feature maps are the cuts, "
            "and all that follows runs in the cloud (docs/models.md).",
        )
    known = torchvision_names("**")
    if model.startswith(TORCHVISION) and known and name not in known:
        meant = _meant(difflib.get_close_matches(name.lower(), known, NEAREST))
        raise AdvisorError(f"torchvision has no model {name!r}.", meant or "Check the name.")


def torchvision_names(folder: str = "") -> list[str]:
    """Names of torchvision's models, read from its source: importing it takes seconds.

    Args:
        folder: "" for classifiers, "detection" and the like for others, "**" for all.
    """
    found = find_spec("torchvision")
    places = found.submodule_search_locations if found is not None else None
    if not places:
        return []
    sources = sorted((Path(places[0]) / "models").glob(f"{folder}/*.py" if folder else "*.py"))
    texts = [path.read_text(encoding="utf-8") for path in sources]
    return [named or function for text in texts for named, function in REGISTERED.findall(text)]


def _meant(near: list[str]) -> str:
    return f"Did you mean {' or '.join(near)}?" if near else ""


def _near_files(text: str) -> list[str]:
    """Neighbours of a path that is not there, written as it was."""
    path = Path(text)
    return [str(path.with_name(name)) for name in difflib.get_close_matches(path.name, _neighbours(path), NEAREST)]


def _neighbours(path: Path) -> list[str]:
    """Names beside the path; its own is there where it is a link that leads nowhere."""
    try:
        return sorted(inner.name for inner in path.parent.iterdir() if inner.name != path.name)
    except OSError:
        return []
