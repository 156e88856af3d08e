"""A plan as files that run without this package: `advisor.export`, `advisor split`."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from advisor.advice import Advice, load_advice
from advisor.errors import AdvisorError
from advisor.exporting.folder import earlier, expected_files, put, staged
from advisor.exporting.manifest import PLAN_FILE, Exported, load_export
from advisor.plans import Plan
from advisor.progress import RunListener, of_stage

if TYPE_CHECKING:
    from torch import nn

    from advisor.loading.pickles import Trust

__all__ = ["Exported", "export", "load_export"]

FORMATS = ("pt2", "onnx")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
"""Optional packages of the format "onnx"."""


def check_format(format: str) -> None:
    """Refuse a format that is none, or whose packages are missing.

    Raises:
        AdvisorError: with what to type instead.
    """
    if format not in FORMATS:
        raise AdvisorError(f"There is no format {format!r}.", f"Use {' or '.join(FORMATS)}.")
    missing = [name for name in NEEDED if format == "onnx" and find_spec(name) is None]
    if missing:
        raise AdvisorError(
            f"ONNX export needs {', '.join(missing)}.", "Install it: pip install 'partition-advisor[onnx]'"
        )


def export(
    answer: Advice | Plan | str | Path,
    folder: str | Path,
    format: Literal["pt2", "onnx"] = "pt2",
    model: nn.Module | str | Path | None = None,
    *,
    arch: str | None = None,
    trust: Trust = False,
    data: Any = None,
    progress: RunListener | None = None,
) -> Exported:
    """Write the parts of a plan, `plan.json`, `edge.py` and the wire's codec into a folder; each part is checked first.

    `cloud(edge(x))` of the loaded parts is what the plan's own halves compute: bit for bit as "pt2", within the
    tolerance that `plan.json` states as "onnx". Where the defense draws, the edge takes its noise as one more input,
    which `edge.py` and `advisor.runtime.Edge` draw; that two calls differ as promised is tested. What the written edge
    sends is attacked once more, where there are samples. An earlier export in the folder is replaced; other files stay.

    Args:
        answer: an advice (its best split is written), a plan, or the path of `advice.json`.
        folder: where to write.
        format: "pt2" (torch.export, runs with torch alone) or "onnx" (runs with ONNX Runtime alone).
        model: the model, or its file; needed where the advice was loaded and its model is not where it was.
        arch: for a state dict, `package.module:factory`.
        trust: run code from the model file; or a question to the user.
        data: samples to attack what was written with, as `advisor.recommend` takes them; None takes the file that an
            advice records, where its bytes are still the same.
        progress: called with stage, share and what is being worked on.

    Raises:
        AdvisorError: when there is no plan, the model is another one, the folder cannot be written or holds files of
            these names, an operator cannot be exported, or an export disagrees. Nothing is left behind.
    """
    check_format(format)
    advice = load_advice(answer) if isinstance(answer, str | Path) else answer
    plan = advice.best_split if isinstance(advice, Advice) else advice
    if plan is None:
        raise AdvisorError("This advice holds no plan to write.", "Run `advisor recommend` again with other budgets.")
    folder = Path(folder)
    with staged(folder) as stage:
        earlier(folder, expected_files(plan, format))
        from advisor.exporting.source import recorded_model, samples_of, traced_like, unseen
        from advisor.exporting.writing import write_export

        of_stage(progress, "load")(0.0, "model")
        loaded, identity = recorded_model(advice, plan, model, arch, trust)
        graph = traced_like(plan, loaded)
        samples = unseen(samples_of(advice, graph, data), advice, plan)
        exported = write_export(
            dataclasses.replace(plan, graph=graph), graph, stage, format, identity, progress, samples
        )
        put(stage, folder, tuple(exported.files), earlier(folder, [*exported.files, PLAN_FILE]))
    return exported
