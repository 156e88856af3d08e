"""The lazy table: what the package offers, and the few names that a noun reaches for above itself.

They are imported when they are first used, so that `import advisor` stays fast and no module imports upward.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

PUBLIC = {
    "Advice": "advisor.advice",
    "AdvisorError": "advisor.errors",
    "Budgets": "advisor.requirements",
    "Column": "advisor.columns",
    "Cut": "advisor.cuts",
    "Defense": "advisor.defenses",
    "Estimate": "advisor.estimate",
    "Exported": "advisor.exporting",
    "Gate": "advisor.gate",
    "PartitionGraph": "advisor.graph",
    "Outlook": "advisor.outlook",
    "Plan": "advisor.plans",
    "Profile": "advisor.columns",
    "REQUIREMENTS": "advisor.requirements",
    "Requirement": "advisor.requirement",
    "TensorSpec": "advisor.cuts",
    "TrainedDefense": "advisor.defenses.training.base",
    "Variant": "advisor.variant",
    "accuracy": "advisor.planning.api",
    "attack": "advisor.estimators.attacks.runner",
    "attack_cuts": "advisor.estimators.attacks.runner",
    "check": "advisor.planning.release.release_gate",
    "defend": "advisor.defenses.training.defending",
    "export": "advisor.exporting",
    "leakage": "advisor.planning.api",
    "load_advice": "advisor.advice",
    "load_export": "advisor.exporting",
    "load_variant": "advisor.defenses.training.fitted_files",
    "profile": "advisor.planning.api",
    "recommend": "advisor.planning.recommending",
    "save_variant": "advisor.defenses.training.fitted_files",
    "trace": "advisor.tracing.tracer",
    "whatif": "advisor.planning.outlooks.conditions",
}
"""The public surface: name -> the module that holds it."""

REACHED = {
    "REPORTS": "advisor.reports",  # Advice.save
    "plan_lines": "advisor.reports.content.answer",  # Advice.summary
    "still_page": "advisor.reports.html",  # Advice._repr_html_
    "is_report": "advisor.reports.html",  # Advice.save: whether a file that it would replace is ours
    "Payload": "advisor.payload",  # Plan.split
    "export": "advisor.exporting",  # Plan.export
    "load_variant": "advisor.defenses.training.fitted_files",  # Plan.split, of what was fitted
    "save_variant": "advisor.defenses.training.fitted_files",  # Advice.save, likewise
    "trace": "advisor.tracing.tracer",  # Plan.split, of a model that is given
}
"""What nouns reach for: name -> the module that holds it."""


def reach(name: str) -> Any:
    """What one of the two tables names.

    Raises:
        KeyError: when neither does.
    """
    return getattr(import_module((PUBLIC | REACHED)[name]), name)
