"""What may be taken from a file that a stranger may have written: harmless values; the rest is asked for again."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.computing.chosen_device import DEFAULT as ANY_DEVICE
from advisor.errors import AdvisorError
from advisor.request import Request
from advisor.request_parts import IN_PYTHON, SOURCES
from advisor.support.model_names import TORCHVISION
from advisor.support.safe_text import shell_words

if TYPE_CHECKING:
    from advisor.advice import Advice

BUILT_IN_DATA = ("digits", "synthetic")
ASKED_AGAIN = {
    "arch": "names code", "defenses": "names code", "device": "names a machine or a file",
    "cloud": "names a machine or a file",
    "link": "names a file", "profile": "names a file", "thresholds": "were given in Python",
    "objective": "was given in Python", "requirement": "names code",
}  # fmt: skip
"""Keyword -> why its recorded value is asked for again, where it is not one of the catalog's."""
DROPPED = ("storage", "study", "artifacts", "out", "pictures", "memory", "compute")
"""Where to write, leave to keep private inputs, and what another computer had: the answer is the same without."""


@dataclass(frozen=True)
class Recorded:
    """What an advice records of its request.

    Attributes:
        options: keyword -> value, harmless ones only; requirements too.
        refused: keyword -> recorded value, to be asked for again.
        dropped: keyword -> recorded value that is left out.
    """

    options: Mapping[str, Any]
    refused: Mapping[str, str]
    dropped: Mapping[str, str]

    def require(self, given: Mapping[str, Any]) -> None:
        """Make sure that what is not taken from the file is named now.

        Raises:
            AdvisorError: naming the first that is not.
        """
        for name, value in self.refused.items():
            if name not in given:
                option = "--" + name.replace("_", "-")
                raise AdvisorError(
                    f"The advice was made with {option} {value!r}, which {ASKED_AGAIN[name]}: that is not taken from "
                    "a file.", f"Give {option} again, this one or another.",
                )  # fmt: skip


def harmless(request: Request | None) -> Recorded:
    """Divide a recorded request; of an advice without one nothing is taken."""
    if request is None:
        return Recorded({}, {}, {})
    options = {name: value for name, value in request.options().items() if name not in ("model", *SOURCES)}
    refused = {name: str(options[name]) for name in ASKED_AGAIN if not _is_harmless(name, options.get(name))}
    if request.requirements.foreign:
        refused["requirement"] = ", ".join(f"{name}={limit:g}" for name, limit in request.requirements.foreign.items())
    dropped = {name: str(options[name]) for name in DROPPED if options[name] not in (None, False, ANY_DEVICE)}
    kept = {name: value for name, value in options.items() if name not in refused and name not in DROPPED}
    return Recorded(kept | dict(request.requirements.limits), refused, dropped)


def _is_harmless(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == "defenses":
        return is_named_defense(str(value))
    if name == "objective":
        return isinstance(value, str) and value != IN_PYTHON
    if name in ("device", "cloud"):
        return is_catalog_device(str(value))
    return name == "link" and is_catalog_link(str(value))


def is_catalog_device(key: str) -> bool:
    """Whether a device is one of the catalog's, or this computer: no file, no address."""
    return re.fullmatch(r"[\w.:@+-]+", key) is not None and ".toml" not in key.lower()


def is_named_defense(text: str) -> bool:
    """Whether defenses are named by what is installed: no dotted path, which would be code."""
    return re.fullmatch(r"[\w, -]+", text) is not None


def is_catalog_link(text: str) -> bool:
    """Whether a link is one of the catalog's, or figures: no file."""
    return re.fullmatch(r"[\w.,:=+ -]+", text) is not None and not re.search(r"trace|\.toml", text.lower())


def named_again(advice: Advice) -> dict[str, str]:
    """Keyword -> recorded value of what whoever goes on from an advice must name again; data without a hash too."""
    found, name = dict(harmless(advice.request).refused), str(_section(advice, "model").get("name") or "")
    if name and not name.startswith(TORCHVISION):
        found["model"] = name
    for keyword in _NOUNS:
        said = None if advice.request is None else getattr(advice.request.data, keyword)
        if said is not None and said not in BUILT_IN_DATA and not _section(advice, keyword).get("sha256"):
            found[keyword] = str(said)
    return found


# ---- model and data ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A recorded path or built-in name.

    Attributes:
        place: what to open.
        sha256: which bytes it must hold; "" for a built-in name.
        doubt: why the record is not believed, which is said once the bytes were checked for code; else "".
    """

    place: str
    sha256: str
    doubt: str = ""

    def doubted(self, why: str) -> Source:
        """The same, not believed."""
        return dataclasses.replace(self, doubt=why)


def recorded_model(advice: Advice, folder: Path) -> Source:
    """The model that an advice is about: a plain file that is where it was, or beside the advice; or a built-in name.

    Whoever opens it must hold the bytes against the hash, after they were checked for code.

    Raises:
        AdvisorError: when none is recorded, it is gone, or no plain file.
    """
    said = _section(advice, "model")
    name, path = str(said.get("name") or ""), said.get("path")
    if name.startswith(TORCHVISION):
        return Source(name, "")
    if name:
        raise AdvisorError(
            f"The model of this advice was built by code, {name[:80]!r}, which is not taken from a file.",
            "Name it again: --model net.py:make --trust.",
        )
    if not path or path == IN_PYTHON:
        raise AdvisorError("This advice does not say where its model is.", "Name it with --model.")
    return Source(_plain_file(str(path), folder, "model", "--model"), str(said.get("sha256") or NO_HASH))


def recorded_data(advice: Advice, folder: Path, keyword: str = "data") -> Source | None:
    """The data file of an advice, a built-in name, or None where there is none.

    Args:
        advice: what was read.
        folder: where it lies.
        keyword: "data", "train_data" or "aux".

    Raises:
        AdvisorError: when it was no file, it is gone, or another.
    """
    from advisor.files import RecordedPath, sha256

    recorded = None if advice.request is None else getattr(advice.request.data, keyword)
    option = "--" + keyword.replace("_", "-")
    if recorded is None:
        return None
    if recorded in BUILT_IN_DATA:
        return Source(str(recorded), "")
    if recorded == IN_PYTHON:
        raise AdvisorError(f"{_NOUNS[keyword]} of this advice were given in Python.", f"Name them with {option}.")
    if Path(str(recorded)).is_dir() or (folder / str(recorded)).is_dir():
        raise AdvisorError(
            f"{_NOUNS[keyword]} of this advice were a folder, {recorded}, of which no hash is recorded.",
            f"Name it again: {option} {shell_words([str(recorded)])}.",
        )
    place, expected = _plain_file(str(recorded), folder, "data", option), _section(advice, keyword).get("sha256")
    if sha256(place) != expected:
        raise AdvisorError(
            f"{place} is not what the advice was made from (another SHA-256).", f"Name it with {option}."
        )
    return Source(RecordedPath(place, str(expected)), str(expected))


_NOUNS = {"data": "The data", "train_data": "The training data", "aux": "The attacker's samples"}


NO_HASH = "none recorded"
"""Stands for the hash of a recorded file of which the advice holds none: no bytes have it."""


def contradicts_itself(advice: Advice) -> bool:
    """Whether an advice of this version records another command than its request makes: then somebody edited it."""
    versions, command = _section(advice, "versions"), advice.provenance.get("command")
    if advice.request is None or not command or versions.get("partition-advisor") != version("partition-advisor"):
        return False
    return command not in (advice.request.command(trusted=False), advice.request.command(trusted=True))


def check_hash(source: Source, found: str) -> None:
    """Refuse a recorded model whose bytes are others.

    Raises:
        AdvisorError: when they are, or no hash is recorded.
    """
    if source.doubt:
        raise AdvisorError(f"The advice contradicts itself: {source.doubt}.", "Name MODEL, --data and the options.")
    if source.sha256 and source.sha256 != found:
        why = "the advice records no SHA-256 of it" if source.sha256 == NO_HASH else "another SHA-256"
        raise AdvisorError(
            f"{source.place} is not surely the model of this advice ({why}).", "Name the right one with --model."
        )


def _plain_file(path: str, folder: Path, noun: str, option: str) -> str:
    beside = str(folder / path)
    place = path if os.path.exists(path) or not os.path.exists(beside) else beside  # False where a name is too long
    try:
        mode = Path(place).stat().st_mode
    except (OSError, ValueError):
        raise AdvisorError(f"The {noun} of this advice is no longer at {path}.", f"Name it with {option}.") from None
    if not stat.S_ISREG(mode):
        raise AdvisorError(f"The recorded {noun} {path} is no plain file.", f"Name it with {option}.")
    return place


def _section(advice: Advice, key: str) -> Mapping[str, Any]:
    said = advice.provenance.get(key)
    return said if isinstance(said, Mapping) else {}
