"""What a plan costs and leaks: cut × defense, priced from the profile, the leakage study and the cloud half itself."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from advisor import memory_limit
from advisor.activations import ActivationCache, Activations
from advisor.batches import carried, first_scores
from advisor.columns import Profile
from advisor.cuts import Cut
from advisor.data.roles import Roles
from advisor.data.samples import Samples, limited
from advisor.defenses import CutFacts, Defense, NoDefense, defense_to_json
from advisor.errors import AdvisorError, CutError
from advisor.estimate import Estimate
from advisor.estimators.attacks import ATTACKS, verifying
from advisor.estimators.attacks.runner import AttackResult, attack
from advisor.estimators.noise import NOISE_DOUBT, NoiseCurve, under_noise
from advisor.estimators.spectrum import spectrum_bound
from advisor.estimators.study.leakage_study import LeakageStudy
from advisor.estimators.study.payload_leakage import leakage_on
from advisor.graph import PartitionGraph
from advisor.payload import Payload
from advisor.planning import u_shape
from advisor.planning.accuracy import Accuracy
from advisor.planning.estimates_as_json import as_estimates, as_json
from advisor.planning.message_size import as_sent
from advisor.planning.selection import LeakageLimits
from advisor.planning.shared_study.results import Results, Task, digest_of
from advisor.plans import Plan
from advisor.profilers import Device, Link, transfer_time
from advisor.profilers.energy import edge_energy
from advisor.profilers.halves.half_latency import total
from advisor.profilers.memory import swapped
from advisor.profilers.support.imported_profile import noun
from advisor.profilers.throughput import on_wire, pipeline
from advisor.progress import ShareProgress
from advisor.sweep import rows_in_memory

EVALUATION_SAMPLES = 1000
PARTS, FEWEST_JUDGED = (16, 4), 60
"""Of the samples, that accuracy is measured on first; and how few may tell anything."""
MEASURED = ("accuracy", "accuracy_drop")
"""What is measured on them."""
HELD_BYTES, HELD = 2**30, 8
"""Of the evaluation samples' activation at one cut, and the part of the memory that it may take at most."""
EVALUATION_BYTES = 2**28
"""Of outputs that are held against one another, as where a map comes out."""
EVALUATION_MACS = 4e11
"""Multiply-adds that one evaluation of accuracy may take where labels are made up: a few seconds on two cores."""
MOST_ID_SAMPLES, FEWEST_ID_SAMPLES = 64, 8
ID_MACS = 2.5e9
"""Multiply-adds of the edge half, over all samples, of which the attack on ids takes two to four thousand passes."""
NOTHING_SENT = {"label_leak": 0.0, "mse_bound": math.inf}
"""Column -> what it is where nothing is sent."""
_COSTS = ("edge_latency", "link_latency", "cloud_latency", "edge_memory", "edge_swap", "bytes")


@dataclass(frozen=True, eq=False)
class PlanEvaluator:
    """Prices plans.

    Attributes:
        graph: the traced model.
        profile: cost and leakage columns.
        study: the leakage study, for what noise does to an attack.
        roles: the samples; accuracy is measured on those for validation, the attacker learns from its own.
        device, link: to price what a defense sends.
        seed: of the defenses' noise.
        tail: where the edge takes over again in every plan (U-shaped), or None.
        folder: where attacks keep what a killed run goes on from, or None.
        only: names of cuts: the edge may stop at no other; empty for any.
        most_rows: samples on which accuracy is measured, where the time allows fewer than usual.
        also: leakage columns beside the score that a plan is asked for.
        results: what was computed before, in this run or over a storage.
    """

    graph: PartitionGraph
    profile: Profile
    study: LeakageStudy
    roles: Roles
    device: Device
    link: Link
    seed: int
    tail: Cut | None = None
    folder: Path | None = None
    only: tuple[str, ...] = ()
    most_rows: int | None = None
    also: tuple[str, ...] = ()
    results: Results = field(default_factory=Results)

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The flat samples `[N, ...]` for validation: accuracy is measured on a random part of them."""
        return self.graph.flat(self.roles["validation"].x)

    @property
    def truth(self) -> Tensor | None:
        """Their labels `[N, ...]` as the graph's task has them; None: the undefended model's own output is the goal."""
        return self.roles["validation"].y

    @property
    def candidates(self) -> tuple[Cut, ...]:
        """Where the edge may stop: cuts between the input and the tail, or the output."""
        inner = self.graph.cuts[1 : len(self.graph.cuts) - 1 if self.tail is None else self.tail.index]
        return tuple(cut for cut in inner if not self.only or cut.name in self.only)

    def evaluate(self, cut: Cut, defense: Defense, rows: int | None = None) -> Plan:
        """A split plan with everything predicted; what is more than arithmetic is computed once.

        Args:
            cut, defense: of the plan.
            rows: one of `sizes`, on which accuracy is measured; None for all.
        """
        costs = self.costs(cut, defense, self.tail)
        if defense.identity and self.is_bare:
            return self.plan(cut, defense, costs | self.effects(cut, defense))
        first, rows = self.task(cut, defense), rows or self.sizes[-1]
        found = as_estimates(first, self.results.one(first))
        if rows > self.sizes[0]:
            more = self.accuracy_task(cut, defense, rows)
            found |= as_estimates(more, self.results.one(more))
        return self.plan(cut, defense, costs | found)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """On how many samples accuracy is measured, one after the other where the one before decides nothing."""
        every = len(self.rows)
        return (*(every // part for part in PARTS if every // part >= FEWEST_JUDGED), every)

    def task(self, cut: Cut, defense: Defense) -> Task:
        """Leakage and first accuracy of what a defense sends, computed once for the same graph, chain and samples."""
        few = self.sizes[0]
        return Task("evaluation", self._told(cut, defense, few), lambda: as_json(self.effects(cut, defense, few)))

    def accuracy_task(self, cut: Cut, defense: Defense, rows: int) -> Task:
        """Accuracy on more samples, likewise."""
        return Task("accuracy", self._told(cut, defense, rows), lambda: as_json(self.accuracy(cut, defense, rows)))

    def measured_on(self, cut: Cut, defense: Defense) -> int:
        """On how many samples accuracy was measured by now; 0 before anything was."""
        if not self.results.knows(self.task(cut, defense)):
            return 0
        more = [rows for rows in self.sizes[1:] if self.results.knows(self.accuracy_task(cut, defense, rows))]
        return max(more, default=self.sizes[0])

    def is_whole(self, plan: Plan) -> bool:
        """Whether a plan has the accuracy of all samples."""
        if plan.kind != "split" or plan.fitted is not None or (plan.defense.identity and self.is_bare):
            return True
        return self.measured_on(plan.cut, plan.defense) in (0, self.sizes[-1])  # 0: it was never asked of a part

    def with_all_samples(self, plan: Plan) -> Plan:
        """The plan with the accuracy of all samples."""
        found = self.evaluate(plan.cut, plan.defense).predicted
        return dataclasses.replace(plan, predicted={**plan.predicted, **{n: found[n] for n in MEASURED}})

    def _told(self, cut: Cut, defense: Defense, rows: int) -> str:
        """What a result hangs on."""
        return digest_of(
            version("partition-advisor"), self.graph.digest, cut.name, None if self.tail is None else self.tail.name,
            defense_to_json(defense), self.roles.fingerprints, [rows, len(self.rows)], self.seed, self.also,
            self.scores, self.profile.provenance.get("leakage"), self.scored_by,
        )  # fmt: skip

    @property
    def scored_by(self) -> str:
        """What else the numbers hang on; "" for the model itself."""
        return ""

    def effects(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """Leakage and accuracy, the latter on so many samples, or all."""
        found = self.leakage(cut, defense) | self.guarantee(cut, defense)
        found |= self.also_asked(cut, defense, found)
        return found | self.accuracy(cut, defense, rows)

    def plan(self, cut: Cut, defense: Defense, predicted: dict[str, Estimate]) -> Plan:
        """A split plan, U-shaped where there is a tail."""
        cuts = (cut,) if self.tail is None else (cut, self.tail)
        return Plan(cuts, defense, predicted, inputs=self.graph.inputs, graph=self.graph)

    def baselines(self) -> tuple[Plan, Plan]:
        """All-edge and all-cloud: nothing sent but nothing hidden from the device's owner; everything sent as it is."""
        ends = []
        for kind, cut, score, similar in (
            ("all-edge", self.graph.cuts[-1], 1.0, 0.0),
            ("all-cloud", self.graph.cuts[0], 0.0, 1.0),
        ):
            predicted = self.costs(cut, NoDefense()) | self.accuracy(cut, NoDefense())
            why = "nothing is sent" if kind == "all-edge" else "the input itself is sent"
            predicted |= {"score": _exact(score, why), "score_ssim": _exact(similar, why)}
            if kind == "all-edge":
                predicted |= {name: _exact(best, why) for name, best in NOTHING_SENT.items() if name in self.also}
                predicted["bytes"] = Estimate.exact(0, "B", "measured", why)
            ends.append(Plan((cut,), NoDefense(), predicted, kind=kind, inputs=self.graph.inputs, graph=self.graph))  # type: ignore[arg-type]
        return ends[0], ends[1]

    @property
    def most_judged(self) -> int:
        """How many samples one measurement of accuracy takes at most."""
        most = min(EVALUATION_SAMPLES, max(16, EVALUATION_BYTES // max(1, self.graph.cuts[-1].bytes)))
        if self.truth is None:
            most = min(most, max(16, int(EVALUATION_MACS / max(1.0, self.profile["macs"].values[-1]))))
        return most

    @cached_property
    def rows(self) -> Tensor:
        """Which samples accuracy is measured on."""
        order = torch.randperm(len(self.inputs[0]), generator=torch.Generator().manual_seed(self.seed))
        return order[: min(self.most_judged, self.most_rows or self.most_judged)].sort().values

    @cached_property
    def evaluation(self) -> tuple[Tensor, ...]:
        """The samples accuracy is measured on."""
        return tuple(t[self.rows] for t in self.inputs)

    # ---- cost ----------------------------------------------------------------------------------------------------

    def costs(self, cut: Cut, defense: Defense, tail: Cut | None = None) -> dict[str, Estimate]:
        """Latencies (s), bytes, edge memory, swap (B) and energy (J) of one sample, but for what a defense computes."""
        found = {name: self.profile[name].at(cut) for name in _COSTS}
        sent, answer = defense.message_bytes(cut), (tail or self.graph.cuts[-1]).message_bytes
        found["bytes"] = Estimate.exact(sent, "B", "measured", f"as sent by {defense.name}, header included")
        if tail is not None:
            found |= u_shape.costs(self.profile, cut, tail)
            found["edge_swap"] = swapped(found["edge_memory"].value, self.edge.memory, self.edge.key)
        if sent != cut.message_bytes or tail is not None:
            found["link_latency"] = transfer_time(self.link, sent, answer, self.device.copy_rate)
        if self.link.compression and cut is not self.graph.cuts[-1]:
            found["bytes"], packing = as_sent(self.activation(cut), defense, self.link.compression)
            on_link = transfer_time(self.link, found["bytes"].value, answer, math.inf)
            found["link_latency"] = total([on_link, packing])
        found["latency"] = total([found["edge_latency"], found["link_latency"], found["cloud_latency"]])
        up = 0.0 if cut is self.graph.cuts[-1] else found["bytes"].value
        found["edge_energy"] = edge_energy(self.edge, self.link, found["edge_latency"], up, answer)
        wire = on_wire(self.link, up, answer if up else 0.0, self.device.copy_rate)
        found["throughput"] = pipeline((found["edge_latency"], wire, found["cloud_latency"]))
        found["macs"] = self._edge_macs(cut, tail)
        return found

    def _edge_macs(self, cut: Cut, tail: Cut | None) -> Estimate:
        """Multiply-adds of the edge half; of a U-shaped plan also of what comes after the tail."""
        macs = self.profile["macs"]
        if tail is None:
            return macs.at(cut)
        after = macs.at(self.graph.cuts[-1]).value - macs.at(tail).value
        return Estimate.exact(macs.at(cut).value + after, "MAC", macs.source, "head and tail")

    @cached_property
    def edge(self) -> Device:
        """The device that the edge times are of: that of a given profile where there is one."""
        row = self.profile.provenance.get("device")
        return noun(Device, row) if row else self.device

    # ---- leakage -------------------------------------------------------------------------------------------------

    def curve(self, cut: Cut) -> NoiseCurve | None:
        """How linear inversion at this cut suffers from noise; None where it could not be measured."""
        return self.study.curves.get(cut.name)

    def facts(self, cut: Cut) -> CutFacts:
        """What a defense may ask about a cut."""
        return CutFacts(cut, self.profile["fisher"].at(cut).value if "fisher" in self.profile else math.nan)

    def leakage(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """`score` and `score_ssim` of what is sent: by the noise curve where the defense is as good as noise."""
        if defense.identity:
            return self.under_noise(cut, 0.0)
        level = defense.noise_equivalent(self.activation(cut))
        return self.measured_leakage(cut, defense) if level is None else self.under_noise(cut, level)

    @property
    def scores(self) -> list[str]:
        """Which predictions of the strong attack were made at all."""
        return [name for name in ("score", "score_ssim") if name in self.profile]

    def measured_leakage(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """`score` and `score_ssim` by the cheap estimators, run on what is sent."""
        names = self.scores
        found = leakage_on(Payload.of(self.graph, cut, defense), self.study.samples, only=names, seed=self.seed)
        return {name: _value(found, name, cut) for name in ("score", "score_ssim")}

    def under_noise(self, cut: Cut, sigma: float) -> dict[str, Estimate]:
        """`score` and `score_ssim` under noise: of what the bare attack explains, the share linear inversion keeps."""
        score, similar = (_value(self.profile, name, cut) for name in ("score", "score_ssim"))
        if sigma == 0:
            return {"score": score, "score_ssim": similar}
        curve = self.curve(cut)
        if curve is None:
            missing = Estimate(math.nan, source="estimated", method="noise could not be priced at this cut")
            return {"score": missing, "score_ssim": missing}
        kept, floor = curve.kept(sigma), self.study.baseline_ssim
        method = f"{score.method}; of what the bare attack explains, {kept:.0%} survives the defense's noise"
        return {
            "score": under_noise(score, kept, 1.0, method),
            "score_ssim": under_noise(similar.mapped(lambda v: max(v, floor), method), kept, floor, method),
        }

    def also_asked(self, cut: Cut, defense: Defense, known: Mapping[str, Estimate]) -> dict[str, Estimate]:
        """Leakage columns that a requirement or the objective rests on and that are not known yet, of what is sent."""
        names = [name for name in self.also if name not in known]
        if defense.identity and self.is_bare:
            return {name: _value(self.profile, name, cut) for name in names}
        if not names:
            return {}
        found = leakage_on(Payload.of(self.graph, cut, defense), self.study.samples, only=names, seed=self.seed)
        return {name: _value(found, name, cut) for name in names}

    @property
    def is_bare(self) -> bool:
        """Whether the leakage columns are of this graph."""
        return True

    def guarantee(self, cut: Cut, defense: Defense) -> dict[str, Estimate]:
        """`mse_bound` under Gaussian noise: no attacker's error per element is below it; nothing without such noise."""
        tangents = self.study.grams.get(cut.name)
        if defense.guaranteed_variance == 0 or tangents is None or tangents.problem:
            return {}
        return {"mse_bound": spectrum_bound(tangents, defense.guaranteed_variance)}

    def allowed_share(self, cut: Cut, limits: LeakageLimits) -> float:
        """Share of what the bare attack explains that may survive for the limits to be met; 1 when none need go."""
        shares, floor = [1.0], self.study.baseline_ssim
        score, similar = (_value(self.profile, name, cut) for name in ("score", "score_ssim"))
        if limits.min_nmse is not None and score.low < 1:
            shares.append((1 - limits.min_nmse) / (1 - score.low))
        if limits.max_ssim is not None and similar.high > floor:
            shares.append((limits.max_ssim - floor) / (similar.high - floor))
        # the interval's unfavourable end is what must meet the limits
        return float(max(0.0, min(shares)) ** (1 / (1 - NOISE_DOUBT)))

    # ---- accuracy ------------------------------------------------------------------------------------------------

    @cached_property
    def undefended(self) -> Accuracy:
        """What the undefended model answers, to hold defended answers against."""
        truth = None if self.truth is None else self.truth[self.rows]
        return Accuracy(first_scores(self.graph, self.evaluation), truth, self.graph.task)

    def accuracy(self, cut: Cut, defense: Defense, rows: int | None = None) -> dict[str, Estimate]:
        """`accuracy` and `accuracy_drop` (absolute) by running the cloud half on what is really sent.

        Args:
            cut, defense: of what is sent.
            rows: how many of the samples, a random part of them that holds every smaller one; None for all.
        """
        part, held = self.part(rows), self.rows_held(cut)
        judged = self.undefended if part is None else self.undefended.taken(part)
        if defense.identity or judged.why_not:
            return judged.undefended()
        payload = Payload.of(self.graph, cut, defense)
        if held < len(self.rows):
            return judged.of(payload.scores_of(_taken(self.evaluation, part), self.seed, held))
        return judged.of(payload.scores(_taken(self.activations.at(cut), part), self.seed))

    def part(self, rows: int | None) -> Tensor | None:
        """Which of the samples that accuracy is measured on are the first so many; None for all."""
        if rows is None or rows >= len(self.rows):
            return None
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(self.seed))
        return order[:rows].sort().values

    def rows_held(self, cut: Cut) -> int:
        """Of how many evaluation samples the activation at a cut may be held at once."""
        return max(1, min(len(self.rows), int(memory_limit.at_most(HELD_BYTES, HELD) / max(1, cut.bytes))))

    def activation(self, cut: Cut) -> tuple[Tensor, ...]:
        """Undefended tensors of the evaluation samples, of some of them where all are too large."""
        rows = self.rows_held(cut)
        if rows == len(self.rows):
            return self.activations.at(cut)
        some = torch.linspace(0, len(self.rows) - 1, rows).long()
        return carried(self.graph, tuple(t[some] for t in self.evaluation), 0, cut.index)

    @cached_property
    def activations(self) -> Activations:
        """Undefended tensors of the evaluation samples."""
        return Activations(self.graph, self.evaluation)

    # ---- verification --------------------------------------------------------------------------------------------

    @property
    def secret(self) -> Literal["input", "ids"]:
        """What is hidden: the input, or the ids that it is made of."""
        return "input" if any(spec.is_floating for spec in self.graph.cuts[0].tensors) else "ids"

    def attack(
        self, plan: Plan, budget: str, progress: ShareProgress | None = None, labels: bool = False, name: str = "",
        own: int | None = None, size: str | None = None,
    ) -> AttackResult:  # fmt: skip
        """Attack what a plan really sends: the input, by its ids where it is discrete; or its labels after the body.

        The attacker learns from its own samples, and the private ones are attacked: as many as fit in memory.

        Args:
            plan: what is attacked.
            budget: "quick" or "strong".
            progress: called with the fraction done.
            labels: whether the labels are attacked, and not the input.
            name: of the attack; the first that verifies where it is "".
            own: samples that the attacker learns from, at most; None: all of its own.
            size: at which images are reconstructed, in pixels a side, or "native"; None: 32.

        Raises:
            AdvisorError: where the attack failed, does not apply, or would take too long.
        """
        learn, attacked = (self._within_memory(self.roles[role]) for role in ("attacker", "private"))
        private, learnt, own_labels, truth = self.graph.flat(attacked.x), learn.x, None, None
        discrete = not any(t.dtype.is_floating_point for t in private)
        chosen = ATTACKS[name] if name else verifying("label" if labels else self.secret)[0]
        if labels:
            truth, own_labels = attacked.labels, learn.labels
        elif discrete:
            learnt = None
            private = tuple(t[: self._id_samples(plan.cut)] for t in private)
        return attack(
            self.graph, plan.cut, pack(self.graph, private), learnt, name=chosen, defense=plan.defense, budget=budget,
            aux_samples=own, attack_size=size, seed=self.seed, y=truth, aux_y=own_labels,
            beyond=plan.tail if labels else None, tail=plan.tail, folder=self.folder, progress=progress,
            walks=self.walks, reidentify=own is None,  # a learning curve is of the error alone
        )  # fmt: skip

    @property
    def attackers_own(self) -> int:
        """Samples that an attack on a plan learns from at most."""
        return len(self._within_memory(self.roles["attacker"]))

    def _within_memory(self, samples: Samples) -> Samples:
        """As many of the samples as the largest tensor of a forward pass allows."""
        return limited(samples, max(2, rows_in_memory(self.graph)), self.seed)

    def _id_samples(self, cut: Cut) -> int:
        """How many samples' ids are attacked: as many as a minute or so allows."""
        macs = self.profile["macs"].at(cut).value
        most = min(MOST_ID_SAMPLES, int(ID_MACS / max(1.0, macs)))
        if most < FEWEST_ID_SAMPLES:
            raise AdvisorError(
                f"descending on the embeddings in front of {cut.name} would take minutes a sample.",
                "Run it by itself: advisor attack --name ids.",
            )
        return most

    @cached_property
    def walks(self) -> ActivationCache:
        """What the attacks' samples send, shared by the attacks."""
        return ActivationCache(self.graph)


def _taken(tensors: tuple[Tensor, ...], rows: Tensor | None) -> tuple[Tensor, ...]:
    return tensors if rows is None else tuple(tensor[rows] for tensor in tensors)


def chosen_cuts(graph: PartitionGraph, text: str | None) -> tuple[str, ...]:
    """Names of the cuts that `layer2*,layer3,7` means: patterns of names, names, module paths or indices.

    Raises:
        CutError: on a pattern that no inner cut's name has, or a name of none or several.
    """
    inner = [cut.name for cut in graph.cuts[1:-1]]
    found: list[str] = []
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        if not set("*?").isdisjoint(part):
            named = [name for name in inner if fnmatchcase(name, part)]
            if not named:
                close = difflib.get_close_matches(part, inner, 3) or inner[:3]
                raise CutError(f"No cut is named {part!r}.", f"There are for example {', '.join(close)}.")
            found += named
        elif (cut := graph.cut(part)).name in inner:
            found.append(cut.name)
        else:
            raise CutError(f"At {cut.name!r} nothing is split.", f"Name a cut between, for example {inner[0]}.")
    return tuple(dict.fromkeys(found))


def pack(graph: PartitionGraph, flat: tuple[Tensor, ...]) -> Any:
    """Flat tensors as user inputs."""
    keywords = graph.inputs.keywords
    if any(keywords):
        return dict(zip(keywords, flat, strict=True))
    return flat[0] if len(flat) == 1 else flat


def _value(profile: Profile, name: str, cut: Cut) -> Estimate:
    """A column's value at a cut; NaN with its reason where it was not measured."""
    if name not in profile:
        return Estimate(math.nan, source="estimated", method="not measured")
    column = profile[name]
    estimate = column.at(cut)
    if math.isnan(estimate.value):
        return Estimate(math.nan, source="estimated", method=column.why[column.row(cut)])
    return estimate


def _exact(value: float, method: str) -> Estimate:
    return Estimate.exact(value, "1", "measured", method)
