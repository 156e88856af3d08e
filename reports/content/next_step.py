"""The command to type next, each word quoted: it runs as it stands, but for `--trust`, which no file gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import PurePath

from advisor.advice import Advice
from advisor.recorded import named_again
from advisor.reports.content.budgets import stands_by_value
from advisor.reports.content.text import clean
from advisor.reports.content.words import device_formats
from advisor.request import Request
from advisor.request_parts import EFFORTS, IN_PYTHON
from advisor.requirements import REQUIREMENTS
from advisor.support.safe_text import shell_words, without_secrets

LOOSER = 1.02
"""A budget that is asked for again is loosened past what the nearest plan needs."""


def folder_of(advice: Advice) -> str:
    """Where the advice was saved, as recorded; "" where it was kept in Python."""
    out = None if advice.request is None else advice.request.output.out
    return clean(without_secrets(str(out))) if isinstance(out, str | PurePath) else ""


def next_command(advice: Advice) -> str:
    """What follows from the verdict; "" where there is nothing to type."""
    folder, best, request = folder_of(advice), advice.best, advice.request
    if not folder or best is None or request is None or folder.startswith("-") or _in_python(request):
        return ""
    if best.kind == "split" and advice.feasible:
        return shell_words(
            ["advisor", "split", folder, "--out", str(PurePath(folder) / "halves"), *_split_options(advice)]
        )
    changed = _changed_request(advice)
    if changed and request.command():
        return shell_words(["advisor", "recommend", "--from", folder, *_options(named_again(advice)), *changed])
    return "" if changed or not advice.feasible else shell_words(["advisor", "report", folder, "--format", "card"])


def _in_python(request: Request) -> bool:
    return bool(request.to_json()["model"]["model"] == IN_PYTHON)


def _changed_request(advice: Advice) -> list[str]:
    """What to ask otherwise: more cuts attacked, wider budgets, or a split; empty where there is nothing."""
    if effort := _decides(advice):
        return ["--effort", effort]
    if not advice.feasible:
        return _loosened(advice)
    return [] if advice.best_split is None else ["--require-split"]


def _split_options(advice: Advice) -> list[str]:
    """The format that the device loads, where it is not the default, and the code that builds the model."""
    only_onnx = device_formats(advice) == "onnx"
    code = {name: value for name, value in named_again(advice).items() if name in ("model", "arch")}
    return [*(["--format", "onnx"] if only_onnx else []), *_options(code)]


def _options(values: Mapping[str, str]) -> list[str]:
    return [clean(without_secrets(w)) for name, value in values.items() for w in ("--" + name.replace("_", "-"), value)]


def _decides(advice: Advice) -> str:
    """The effort that attacks more cuts, where for want of attacks the best split misses limits at an end; or ""."""
    left_out, plan = advice.provenance.get("left_out"), advice.best_split
    if plan is None or plan.feasible or not isinstance(left_out, Mapping) or "cuts_attacked" not in left_out:
        return ""
    if not plan.predicted["score"].method.startswith(advice.profile["score"].method):  # it was attacked itself
        return ""
    rows = [(REQUIREMENTS.get(name), advice.budgets.limits.get(name)) for name in plan.excess]
    if not all(row and limit is not None and stands_by_value(plan, row, limit) for row, limit in rows):
        return ""
    assert advice.request is not None
    return dict(itertools.pairwise(EFFORTS)).get(advice.request.search.effort, "")


def _loosened(advice: Advice) -> list[str]:
    """The budgets that the nearest plan misses, as wide as it needs them."""
    assert advice.best is not None
    words = []
    for name, over in advice.best.excess.items():
        limit = advice.budgets.limits.get(name)
        if name not in REQUIREMENTS or limit is None or not math.isfinite(over):
            return []
        row = REQUIREMENTS[name]
        needed = (limit + over) * LOOSER if row.minimised else max(0.0, (limit - over) / LOOSER)
        words += [row.option, row.typed(min(needed, 1.0) if row.unit == "1" else needed, 3)]
    return words
