"""Plan and Advice: what the search answers. Nothing here needs torch to be read or shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from advisor.attack_versions import FIRST, outdated
from advisor.columns import SCHEMA_VERSION, Profile, Provenance, check_version, first_problem, plain
from advisor.cuts import Cut
from advisor.defenses import AbsentDefense, defense_to_json, recorded_defense
from advisor.documents import as_text, digest_of, holds, read_json
from advisor.errors import AdvisorError
from advisor.estimate import Estimate, Number
from advisor.files import check_ours, sha256, write_atomically
from advisor.fitted import FittedDefense
from advisor.inputs import InputSpec
from advisor.interrupts import held
from advisor.request import Request
from advisor.requirements import REQUIREMENTS, Budgets, Requirement
from advisor.upward import reach


def _request_from_json(payload: Any) -> Request | None:
    return payload if payload is None or isinstance(payload, Request) else Request.from_json(payload)


def _request_to_json(request: Request | None) -> dict[str, Any] | None:
    return None if request is None else request.to_json()


if TYPE_CHECKING:
    from typing import TypeAlias

    from torch import nn

    from advisor.defenses import Defense
    from advisor.exporting.manifest import Exported
    from advisor.graph import PartitionGraph

    AnyDefense: TypeAlias = Defense
    AnyBudgets: TypeAlias = Budgets
    AnyRequest: TypeAlias = Request | None
else:
    AnyBudgets = Annotated[Any, BeforeValidator(Budgets.from_json), PlainSerializer(Budgets.to_json)]
    AnyRequest = Annotated[Any, BeforeValidator(_request_from_json), PlainSerializer(_request_to_json)]
    AnyDefense = Annotated[Any, BeforeValidator(recorded_defense), PlainSerializer(defense_to_json)]


DERIVED = ("answer",)
"""What the JSON report holds beside the advice: made anew of the rest whenever it is shown, and read by nothing."""
Form = Literal["", "uint8", "JPEG"]
"""In which an all-cloud plan sends inputs; "" as the model takes them."""
Verdict = Literal["split", "all-edge", "all-cloud", "local-head", "none"]


@dataclass(frozen=True)
class Picture:
    """One reconstruction beside its original, as PNG data URIs; `which` is "best", "median" or "worst"."""

    which: str
    original: str
    reconstruction: str
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """One attack that was run.

    Attributes:
        attack: its name.
        threat: what the attacker knows, has and may do, in words.
        budget: how hard it tried.
        cut, defense: what it attacked.
        scores: quantity -> Estimate, NaN with its reason where this attack has none.
        samples: how many private samples it was scored on.
        repeats: transmissions of each input that it averaged.
        notes: what should be said beside the numbers.
        pictures: its best, median and worst reconstruction.
        version: of the attack.
        floor: the error that the same attacker is left with who has only the model's output; None: it was not asked.
        members: of an attack that is the worst of several, what each of them found.
    """

    attack: str
    threat: str
    budget: str
    cut: str
    defense: str
    scores: dict[str, Estimate]
    samples: int
    repeats: int = 1
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    version: int = FIRST
    floor: Estimate | None = None
    members: dict[str, Estimate] = dataclasses.field(default_factory=dict)

    @property
    def outdated(self) -> str:
        """Why it says less than the attack of that name would by now, in words; "" where it says as much."""
        return outdated(self.attack, self.version)


@dataclass(frozen=True, eq=False, config=ConfigDict(arbitrary_types_allowed=True))
class Plan:
    """Cut(s) + defense + what they are predicted to cost and leak.

    Attributes:
        cuts: one cut, or head and tail of a U-shaped plan.
        defense: what happens to the tensor before it leaves.
        predicted: quantity -> Estimate; latency, edge_latency, link_latency, cloud_latency (s), bytes, edge_memory (B),
            accuracy, accuracy_drop, score (NMSE left to a strong attack), score_ssim.
        verified: quantity -> Estimate, from the attack that was run on this plan: nmse, mse, ssim, psnr; empty if none
            was.
        tested: accuracy and accuracy_drop on the test part, which no choice looks at; empty where there is none, or the
            plan was not chosen.
        excess: budgets this plan misses, and by how much (in the budget's unit; NaN where it could not be measured).
        kind: "split", or the baselines "all-edge", "all-cloud" and "local-head".
        sends: the form in which an all-cloud plan sends inputs: "uint8", "JPEG", or "" for as the model takes them.
        fitted: what was fitted, where the halves hold a trained defense; `graph` is then the variant, and `cut` its
            payload.
        inputs: recorded shapes of the model's inputs, so that it can be traced and split again after `load_advice`.
    """

    cuts: Annotated[tuple[Cut, ...], Field(min_length=1, max_length=2)]
    defense: AnyDefense
    predicted: dict[str, Estimate]
    verified: dict[str, Estimate] = dataclasses.field(default_factory=dict)
    excess: dict[str, Number] = dataclasses.field(default_factory=dict)
    tested: dict[str, Estimate] = dataclasses.field(default_factory=dict, kw_only=True)
    kind: Literal["split", "all-edge", "all-cloud", "local-head"] = "split"
    sends: Form = dataclasses.field(default="", kw_only=True)
    inputs: InputSpec | None = None
    fitted: FittedDefense | None = None
    graph: Any = Field(default=None, exclude=True, repr=False)
    evidence: Any = Field(default=(), exclude=True, repr=False)
    folder: Any = Field(default=None, exclude=True, repr=False)

    @property
    def cut(self) -> Cut:
        """Where the edge stops."""
        return self.cuts[0]

    @property
    def tail(self) -> Cut | None:
        """Where the edge takes over again: the tail of a U-shaped plan, else None."""
        return self.cuts[1] if len(self.cuts) > 1 else None

    @property
    def feasible(self) -> bool:
        """Whether every budget is met."""
        return not self.excess

    def found(self, row: Requirement) -> Estimate | None:
        """What a requirement limits: an attack's result where one was run and found worse, else the prediction."""
        if row.function is not None:
            return Estimate.exact(float(row.function(self)), row.unit, "estimated", "given in Python")
        predicted, verified = self.predicted.get(row.measurement), self.verified.get(row.quantity)
        if verified is None or math.isnan(verified.value):
            return predicted
        if predicted is None or math.isnan(predicted.value):
            return verified
        return verified if row.worse(verified.value, predicted.value) else predicted

    def missing(self, limits: Mapping[str, float], confidence: float | None = None) -> dict[str, float]:
        """By how much each limit is missed, in its unit; NaN where it could not be measured; those that are met not.

        Args:
            limits: by requirement.
            confidence: as `Requirement.judged`.
        """
        rows = [(REQUIREMENTS[name], limit) for name, limit in limits.items()]
        missed = {row.name: row.missed_by(self.found(row), limit, confidence) for row, limit in rows}
        return {name: over for name, over in missed.items() if over != 0}

    def leakage(self, quantity: Literal["score", "score_ssim"]) -> Estimate:
        """Leakage of this plan: the attack's result where one was run and found more, else the prediction."""
        found = self.found(REQUIREMENTS["min_nmse" if quantity == "score" else "max_ssim"])
        return self.predicted[quantity] if found is None else found

    def split(self, model: nn.Module | str | Path | None = None) -> tuple[nn.Module, ...]:
        """The halves, the defense inside the edge half and its inverse inside the cloud half: (edge, cloud).

        A U-shaped plan has three parts: (edge head, cloud body, edge tail).

        Args:
            model: the model this advice is about; needed after `load_advice`, unless the recorded path still holds it.

        Raises:
            AdvisorError: when there is no model to split.
        """
        parts: tuple[nn.Module, ...] = (
            reach("Payload").of(self._graph_of(model), self.cut, self.defense).halves(self.tail)
        )
        return parts

    def export(
        self,
        folder: str | Path,
        format: Literal["pt2", "onnx"] = "pt2",
        model: nn.Module | str | Path | None = None,
    ) -> Exported:
        """Write the halves, `plan.json` and the wire's codec into a folder; see `advisor.export`.

        Raises:
            AdvisorError: as `advisor.export`.
        """
        exported: Exported = reach("export")(self, folder, format, model)
        return exported

    def _graph_of(self, model: nn.Module | str | Path | None) -> PartitionGraph:
        if model is None and self.graph is None:
            raise AdvisorError("This plan was loaded without its model.", "Pass it: plan.split(model)")
        if model is None or (self.fitted is not None and self.graph is not None):
            graph: PartitionGraph = self.graph
            return graph
        inner = [len(cut.tensors) for cut in self.cuts if cut.name not in ("input", "output")]
        base: PartitionGraph = reach("trace")(model, self.inputs, max_tensors=max(inner, default=1))
        if self.fitted is None:
            return base
        variant: PartitionGraph = self.fitted.spliced_again(base, self.folder, self.cut)
        return variant

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the model's own cuts: where the edge stops, and takes over again."""
        at = self.cut.name if self.fitted is None else self.fitted.at
        return (at, *(cut.name for cut in self.cuts[1:]))

    @property
    def short_fit(self) -> bool:
        """Whether its defense was fitted for a choice only, not to its end."""
        return self.fitted is not None and self.fitted.short

    @property
    def protection(self) -> str:
        """Everything that hides the input, in a few words: what was fitted, and what happens to the payload."""
        if self.fitted is None:
            return str(self.defense)
        method = f"{self.fitted.method} (short fit)" if self.short_fit else self.fitted.method
        shapes = ", ".join("×".join(map(str, t.shape)) for t in self.cut.tensors)
        return f"{method} to {shapes}" + ("" if self.defense.identity else f" + {self.defense}")

    def is_of(self, evidence: Evidence) -> bool:
        """Whether an attack was run on what this plan sends; once a dFIL that was not set was written as 0."""
        return (evidence.cut, evidence.defense.replace(", dfil=0)", ")")) == (self.cut.name, str(self.defense))

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells a plan from others of the same search."""
        return self.cut.name, self.fitted.digest if self.fitted else "", str(self.defense)

    def __str__(self) -> str:
        return f"{' … '.join(self.places)} + {self.protection}"


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
        used = (plan.defense for plan in (*self.plans, *self.tried))
        return tuple(dict.fromkeys(name for d in used if isinstance(d, AbsentDefense) for name in d.missing))

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
    return lying_in(path if path.is_dir() else path.parent, read_json(path / "advice.json" if path.is_dir() else path))


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
