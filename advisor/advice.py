"""Advice: what the search answers, and where it is read from. Nothing here needs torch to be read or shown."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from advisor.columns import Profile
from advisor.errors import AdvisorError
from advisor.estimate import Number
from advisor.files import check_ours, sha256, write_atomically
from advisor.plans import Evidence, Plan, Verdict
from advisor.request import Request
from advisor.requirements import Budgets
from advisor.support.documents import as_text, digest_of, holds, read_json
from advisor.support.interrupts import held
from advisor.support.schemas import SCHEMA_VERSION, Provenance, check_version, first_problem, plain
from advisor.upward import reach


def _request_from_json(payload: Any) -> Request | None:
    return payload if payload is None or isinstance(payload, Request) else Request.from_json(payload)


def _request_to_json(request: Request | None) -> dict[str, Any] | None:
    return None if request is None else request.to_json()


if TYPE_CHECKING:
    from typing import TypeAlias

    AnyBudgets: TypeAlias = Budgets
    AnyRequest: TypeAlias = Request | None
else:
    AnyBudgets = Annotated[Any, BeforeValidator(Budgets.from_json), PlainSerializer(Budgets.to_json)]
    AnyRequest = Annotated[Any, BeforeValidator(_request_from_json), PlainSerializer(_request_to_json)]

DERIVED = ("answer",)
"""What the JSON report holds beside the advice: made anew of the rest whenever it is shown, and read by nothing."""


@dataclass(frozen=True)
class Gallery:
    """Pictures for the report: PNG data URIs, originals beside what the quick attack recovered at each cut."""

    originals: tuple[str, ...] = ()
    reconstructions: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class NoiseLevels:
    """NMSE of linear inversion at one cut against the standard deviation of its noise, and without any."""

    sigma: tuple[Number, ...]
    nmse: tuple[Number, ...]
    bare: Number


@dataclass(frozen=True, eq=False, repr=False, config=ConfigDict(arbitrary_types_allowed=True))
class Advice:
    """The answer.

    Attributes:
        headline: the first line of the answer.
        best: the verdict's plan; with "none" the nearest; None when there is no plan at all.
        feasible: whether `best` meets every budget.
        reasons: why `best` was chosen, one sentence each.
        zone: names of the cuts in the golden partition zone (ours); may be empty.
        pareto: plans that no other plan beats in latency, leakage and accuracy.
        nearest: where nothing is feasible, the plans that miss the budgets by least.
        baselines: all-edge and all-cloud; chosen where they meet what was asked and no split is better, all-cloud also
            with inputs as people send them, which stand among the alternatives.
        profile: cost and leakage of every cut.
        budgets: what was asked.
        unmeasured: what could not be measured, and why.
        assumptions: what was assumed, one sentence each.
        evidence: every attack that was run, in order.
        provenance: versions, seeds, data, device, wall times.
        noise: by cut name, what noise does to an attack: with it defenses are priced again without measuring again.
        request: what was wanted, as data; None where an earlier version made the advice.
        verdict: "split", "all-edge", "all-cloud", "local-head", or "none" where nothing meets the requirements.
        best_split: the best split whatever the verdict; None where the model has no cut.
        alternatives: role -> plan that stands beside `best`: fastest private, most private, the next device up, how
            people send inputs and activations.
        next_best: the plans that would be chosen next, in that order, each of another cut or another defense.
        tried: defended plans that were priced and are shown nowhere: `advisor.whatif` chooses among them too.
    """

    headline: str
    best: Plan | None
    feasible: bool
    reasons: tuple[str, ...]
    zone: tuple[str, ...]
    pareto: tuple[Plan, ...]
    nearest: tuple[Plan, ...]
    baselines: tuple[Plan, ...]
    profile: Profile
    budgets: AnyBudgets
    unmeasured: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    gallery: Gallery = dataclasses.field(default_factory=Gallery)
    evidence: tuple[Evidence, ...] = ()
    provenance: Provenance = dataclasses.field(default_factory=dict)
    noise: dict[str, NoiseLevels] = dataclasses.field(default_factory=dict)
    request: AnyRequest = None
    verdict: Verdict = "split"
    best_split: Plan | None = None
    alternatives: dict[str, Plan] = dataclasses.field(default_factory=dict)
    next_best: tuple[Plan, ...] = ()
    tried: tuple[Plan, ...] = ()
    schema_version: str = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.verdict == "split" and not self.feasible:  # also what an earlier version wrote
            object.__setattr__(self, "verdict", "none")
        if self.best_split is None and self.best is not None and self.best.kind == "split":
            object.__setattr__(self, "best_split", self.best)

    def __repr__(self) -> str:
        """The answer in five lines; `summary` has more, `to_json` all."""
        plan = self.best
        names = ("latency", "score", "score_ssim", "accuracy_drop")
        numbers = [] if plan is None else [f"{n} {plan.predicted[n]:.3g}" for n in names if n in plan.predicted]
        return "\n".join(
            [
                f"Advice(verdict={self.verdict!r}, feasible={self.feasible})",
                f"  {self.headline}",
                f"  best: {plan} ({plan.kind if plan else 'none'}); {', '.join(numbers)}",
                f"  budgets: {self.budgets}; zone: {', '.join(self.zone[:1] + self.zone[1:][-1:]) or 'none'}",
                f"  {len(self.profile.cuts)} cuts, {len(self.pareto)} plans on the front; .summary(), .save(folder)",
            ]
        )

    def summary(self) -> str:
        """The headline, the plan in plain words, and why, as text."""
        return "\n".join([self.headline, *reach("plan_lines")(self), *self.reasons])

    def _repr_html_(self) -> str:
        """The report, for a notebook: in a frame that runs nothing."""
        page = escape(str(reach("still_page")(self)), quote=True)
        return f'<iframe sandbox srcdoc="{page}" style="width: 100%; height: 40em; border: 0"></iframe>'

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return plain(_ADVICE, self)

    @classmethod
    def from_json(cls, payload: Any) -> Advice:
        """Validate plain JSON values.

        Raises:
            AdvisorError: when they are no advice, or of a newer major version.
        """
        check_version(payload, "advice file")
        try:
            return _ADVICE.validate_python(payload)
        except (ValidationError, RecursionError, KeyError, TypeError) as error:
            problem = first_problem(error) if isinstance(error, ValidationError | RecursionError) else repr(error)
            raise AdvisorError(
                f"This is not an advice file: {problem}.", "Write it with `advisor recommend --out`."
            ) from None

    @property
    def digest(self) -> str:
        """SHA-256 of what `save` writes, for `advisor check --digest`: keep it where nobody can edit it."""
        return digest_of(self.to_json())

    @property
    def holds_pictures(self) -> bool:
        """Whether private inputs, or what an attack made of them, are inside as pictures."""
        gallery = self.gallery
        shown = gallery.originals or gallery.reconstructions or any(item.pictures for item in self.evidence)
        return bool(shown)

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the defenses of its plans whose code is not installed here: they are shown, and run nowhere."""
        return tuple(dict.fromkeys(name for plan in (*self.plans, *self.tried) for name in plan.absent))

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Every plan that is shown, each once."""
        found = [self.best, self.best_split, *self.pareto, *self.nearest, *self.baselines]
        found += [*self.alternatives.values(), *self.next_best]
        return tuple({id(plan): plan for plan in found if plan is not None}.values())

    def save(self, folder: str | Path) -> None:
        """Write fitted weights, `advice.json` and `report.html` into a folder, each atomically; Ctrl-C waits for all.

        Raises:
            AdvisorError: when they cannot be written, or other files of these names are there.
        """
        self.save_as(Path(folder) / "advice.json", Path(folder) / "report.html")

    def save_as(self, file: Path, page: Path) -> None:
        """`save` under other names. With pictures inside, nobody but the owner may read the files.

        Raises:
            AdvisorError: as `save`.
        """
        reports, is_report = reach("REPORTS"), reach("is_report")
        plain = as_text(self.to_json()) + "\n"
        check_ours(file, is_advice)
        check_ours(page, is_report)
        private = {"private": True} if self.holds_pictures else {}
        with held():
            for plan in self.plans:
                if plan.fitted is not None:
                    plan.fitted.keep(plan.graph, plan.folder, file.parent)
            write_atomically(file, plain, **private)
            write_atomically(page, reports["html"](self), **private)


def load_advice(path: str | Path) -> Advice:
    """Read `advice.json`, or the folder that holds it.

    Raises:
        AdvisorError: when the file is missing, truncated, of a newer version or no advice.
    """
    path = Path(path)
    try:
        plain = read_json(path / "advice.json" if path.is_dir() else path)
    except AdvisorError as error:
        written = "Name a folder or advice.json that `advisor recommend` wrote; a truncated one is to be written again."
        raise AdvisorError(error.problem, written) from None
    return lying_in(path if path.is_dir() else path.parent, plain)


def lying_in(folder: Path, payload: Any) -> Advice:
    """The advice of plain JSON values that were read in a folder.

    Raises:
        AdvisorError: when they are no advice.
    """
    advice = Advice.from_json(payload)
    for plan in (*advice.plans, *advice.tried):  # where the weights of what was fitted lie
        object.__setattr__(plan, "folder", folder)
    return advice


def check_model_file(advice: Advice, path: str | Path) -> None:
    """Refuse a model file other than the one the advice is about (by SHA-256)."""
    model = advice.provenance.get("model")
    expected = model.get("sha256") if isinstance(model, dict) else None
    if expected and sha256(path) != expected:
        raise AdvisorError(
            f"{path} is not the model of this advice (another SHA-256).", "Pass the right one with --model."
        )


_ADVICE = TypeAdapter(Advice)


is_advice = holds(Advice.from_json)
"""Whether bytes are an advice: such a file may be replaced by another."""
