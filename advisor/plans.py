"""Plan and Evidence: one way to split, and one attack that was run. Nothing here needs torch to be read or shown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.dataclasses import dataclass

from advisor.attack_versions import FIRST, outdated
from advisor.cuts import Cut
from advisor.defenses import AbsentDefense, defense_to_json, recorded_defense
from advisor.errors import AdvisorError
from advisor.estimate import Estimate, Number
from advisor.fitted import FittedDefense
from advisor.inputs import InputSpec
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS
from advisor.upward import reach

if TYPE_CHECKING:
    from typing import TypeAlias

    from torch import nn

    from advisor.defenses import Defense
    from advisor.exporting.manifest import Exported
    from advisor.graph import PartitionGraph

    AnyDefense: TypeAlias = Defense
else:
    AnyDefense = Annotated[Any, BeforeValidator(recorded_defense), PlainSerializer(defense_to_json)]


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

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of its defenses whose code is not installed here."""
        return self.defense.missing if isinstance(self.defense, AbsentDefense) else ()

    def is_of(self, evidence: Evidence) -> bool:
        """Whether an attack was run on what this plan sends; once a dFIL that was not set was written as 0."""
        return (evidence.cut, evidence.defense.replace(", dfil=0)", ")")) == (self.cut.name, str(self.defense))

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells a plan from others of the same search."""
        return self.cut.name, self.fitted.digest if self.fitted else "", str(self.defense)

    def __str__(self) -> str:
        where, bare = " … ".join(self.places), self.fitted is None and self.defense.name == "none"
        return where if bare else f"{where} + {self.protection}"


def __getattr__(name: str) -> Any:
    """`Advice` and `load_advice` once lay here, and programs of users may still take them from here."""
    if name in ("Advice", "load_advice"):
        return reach(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
