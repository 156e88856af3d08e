"""What a study on a storage is about: other workers join it for the same alone."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from advisor.errors import AdvisorError
from advisor.files import sha256
from advisor.planning.shared_study.results import NAME, Results, Task, digest_of, strange
from advisor.planning.stages import Prepared
from advisor.request import Request
from advisor.request_parts import IN_PYTHON

LEFT_OUT = {
    "model": ("model", "arch"), "data": ("data", "train_data", "aux"),
    "search": ("storage", "study", "artifacts", "timeout"),
    "machine": ("memory", "compute"), "output": ("out", "pictures"),
}  # fmt: skip
"""Part -> what two workers may have otherwise: where things lie, and what is known by its digest."""

FILES = {
    "device": re.compile(r"^\s*(?P<path>.*\.toml)"), "cloud": re.compile(r"^\s*(?P<path>.*\.toml)"),
    "link": re.compile(r"trace=\s*(?P<path>[^,]*[^,\s])"), "profile": re.compile(r"^(?P<path>.+)$"),
}  # fmt: skip
"""Keyword of the target -> where its value names a file."""

SAID = {"model": "model", "cuts": "model", "data": "data", "request": "request", "program": "version of the program"}


def check_study(request: Request) -> None:
    """Refuse, before anything slow, to join a study that cannot be told to be of the same request.

    Raises:
        AdvisorError: saying what is no JSON.
    """
    search = request.search
    if search.study is not None and search.storage is None:
        raise AdvisorError("A study is named, and no storage that holds it.", "Add --storage.")
    if search.storage is None or search.study is not None:
        return
    told = _request(request)
    told["requirements"] = {row.name: IN_PYTHON for row, _ in request.requirements if row.function is not None}
    functions = [("requirements", name) for name in told["requirements"]]
    for part, key in (*functions, ("search", "objective"), ("search", "thresholds"), ("target", "profile")):
        if told[part].get(key) == IN_PYTHON:
            raise AdvisorError(
                f"The {key} is given in Python, so that no storage can tell whether another run has the same.",
                "Name the study that this run may join: --study NAME.",
            )


def identity(request: Request, prepared: Prepared) -> dict[str, Any]:
    """What an answer hangs on, as plain values: digests of model and samples, the request, the program."""
    return {
        "model": prepared.graph.digest,
        "cuts": [cut.name for cut in prepared.graph.cuts],
        "data": prepared.roles.fingerprints,
        "request": _request(request),
        "program": [version("partition-advisor"), version("optuna")],
    }


def joined(request: Request, prepared: Prepared, results: Results) -> str:
    """The name of the study of this request on a storage; whoever comes first says what it is about.

    Raises:
        AdvisorError: where the study of that name is of another model, request or program.
    """
    own = identity(request, prepared)
    name = request.search.study or f"{NAME}-{digest_of(own)[:16]}"
    task = Task("study", digest_of(name), lambda: own)
    found = results.one(task)
    if not isinstance(found, dict):
        raise strange(task, ValueError("it does not say what it is about"))
    for key, said in SAID.items():
        if digest_of(found.get(key)) != digest_of(own[key]):
            raise AdvisorError(
                f"The study {name!r} on the storage is of another {said}.",
                "Name another --study, or another --storage.",
            )
    return name


def _request(request: Request) -> dict[str, Any]:
    told = request.to_json()
    told["target"] |= {key: _by_content(key, told["target"][key]) for key in ("device", "link", "cloud", "profile")}
    return {part: {k: v for k, v in values.items() if k not in LEFT_OUT.get(part, ())} for part, values in told.items()}


def _by_content(key: str, value: str | None) -> str | None:
    """What names a file, with the digest of its bytes in the place of its path: workers may keep it anywhere."""
    named = FILES[key].search(value or "")
    if value is None or named is None or value == IN_PYTHON:
        return value
    start, stop = named.span("path")
    return f"{value[:start]}{sha256(value[start:stop])}{value[stop:]}"
