"""Attack: one way to get back what was private from the activation, with its threat model as data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from advisor.batches import carried
from advisor.data.synthetic.synthesis import synthesise
from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.support.channel import Channel, Reduce, Store
from advisor.estimators.attacks.support.draws import Draws
from advisor.progress import Progress, part, silence
from advisor.support.checkpoint import Checkpoint
from advisor.value_range import ValueRange
from advisor.variant import Variant

if TYPE_CHECKING:
    from advisor.cuts import Cut
    from advisor.graph import PartitionGraph

Knowledge = Literal["cut and defense", "edge weights", "cloud weights"]
Holding = Literal["auxiliary inputs", "few labels", "labels", "nothing"]
Right = Literal["query the edge", "ask nothing"]
Secret = Literal["input", "label", "ids"]
Effort = Literal["quick", "strong"]


@dataclass(frozen=True)
class ThreatModel:
    """What an attacker knows, has and may do. `AttackContext` hands over nothing beyond it.

    Attributes:
        knows: of the model; every attacker knows the cut and the defense.
        has: data of its own.
        may: ask of the edge.
        recovers: what it is after.
    """

    knows: tuple[Knowledge, ...]
    has: tuple[Holding, ...]
    may: tuple[Right, ...]
    recovers: Secret = "input"

    def __str__(self) -> str:
        parts = (("knows", self.knows), ("has", self.has), ("may", self.may))
        return "; ".join(f"{verb} {', '.join(what)}" for verb, what in parts)


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """An attacker's own samples.

    Attributes:
        inputs: flat tensors `[n, ...]`.
        pixels: `[n, ...]`, as reconstructions are scored.
        labels: `[n]` int64, -1 where the attacker does not know; None when it knows none.
        what: where they come from, for people.
    """

    inputs: tuple[Tensor, ...]
    pixels: Tensor
    labels: Tensor | None = None
    what: str = "auxiliary samples"

    def __len__(self) -> int:
        return len(self.pixels)

    def first(self, count: int) -> Auxiliary:
        """At most `count` of them."""
        if count >= len(self):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return Auxiliary(tuple(t[:count] for t in self.inputs), self.pixels[:count], labels, self.what)


@dataclass(frozen=True, eq=False)
class Recovered:
    """What an attack got back for each private sample; exactly one of inputs, labels, ids and members.

    Attributes:
        inputs: `[N, ...]`, in the shape of the scored targets.
        labels: `[N, classes]` scores of each class.
        ids: `[N, positions, k]` guesses, best first.
        clip: whether reconstructions may be clipped to the range of inputs: not those of an unbiased attacker.
        notes: what should be said beside the result, one sentence each.
        evidence: other numbers of interest by name.
        members: of an attack that tries several, what each found: the one that found most counts.
        failed: those that failed, and why.
    """

    inputs: Tensor | None = None
    labels: Tensor | None = None
    ids: Tensor | None = None
    clip: bool = True
    notes: tuple[str, ...] = ()
    evidence: dict[str, float] = field(default_factory=dict)
    members: dict[str, Recovered] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class AttackContext:
    """Everything that an attack may use; the private samples are not in it, only what was seen of them.

    Attributes:
        graph: the traced model.
        cut: which cut was listened at.
        sent: what was received of the private samples, each `[N, ...]`, averaged over `channel.repeats` transmissions.
        channel: edge half, defense and wire.
        auxiliary: the attacker's own samples, or None.
        template: `[0, ...]`, an empty tensor of the shape that is scored.
        images: whether the targets are images.
        values: between which values inputs lie: what the model takes is no secret.
        shrink: from flat inputs to the scored targets.
        classes: of the model; 1 where it is no classifier.
        effort: how hard to try.
        seed: of everything that the attacker draws.
        threat: what the attack declared; nothing else is handed over.
        tick: called with the fraction done.
        folder: where to keep what a killed attack resumes from, or None.
        heard: the same attacker in another place: from transmissions of each input, and the index of a deeper cut up
            to which the cloud carries on what it received (None: the payload itself).
        floor_at: index of the cut at which the cloud knows least of the input of all that it computes: the model's
            output, or what is sent back in a U-shaped plan; None: what was received is that.
    """

    graph: PartitionGraph
    cut: Cut
    sent: tuple[Tensor, ...]
    channel: Channel
    auxiliary: Auxiliary | None
    template: Tensor
    images: bool
    values: ValueRange
    shrink: Callable[[tuple[Tensor, ...]], Tensor]
    classes: int
    effort: Effort
    seed: int
    threat: ThreatModel
    tick: Progress = silence
    folder: Path | None = None
    heard: Callable[[int, int | None], AttackContext] | None = None
    floor_at: int | None = None

    def __len__(self) -> int:
        return len(self.sent[0])

    def elsewhere(self, *, repeats: int | None = None, beyond: int | None = None) -> AttackContext:
        """The same attacker after more transmissions of each input, or after the cloud carried on what it received."""
        assert self.heard is not None
        deeper = self.channel.beyond if beyond is None else beyond
        other = self.heard(repeats or self.channel.repeats, deeper)
        return replace(other, threat=self.threat, tick=self.tick, folder=self.folder)

    def named(self, name: str, tick: Progress) -> AttackContext:
        """The same for one of several attacks that are run as one, with a folder of its own beside."""
        if self.folder is None:
            return replace(self, tick=tick)
        own = hashlib.sha256(f"{self.folder.name};{name}".encode()).hexdigest()[:16]
        return replace(self, tick=tick, folder=self.folder.with_name(own))

    @property
    def known(self) -> Auxiliary:
        """The attacker's own samples."""
        self._allowed("auxiliary inputs" in self.threat.has, "auxiliary inputs")
        assert self.auxiliary is not None
        return self.auxiliary

    def practice(self, count: int) -> Auxiliary:
        """Samples to practise on: the attacker's own, else made up (BatchNorm statistics, a natural-image prior)."""
        if "auxiliary inputs" in self.threat.has and self.auxiliary is not None:
            return self.auxiliary.first(count)
        return self.made_up(max(2, count), self.seed + 1)

    def made_up(self, count: int, seed: int, steps: int | None = None) -> Auxiliary:
        """Synthetic samples; `steps` of refinement to BatchNorm statistics, None for as many as are cheap."""

        def make() -> dict[str, Any]:
            made = synthesise(self.graph, count, seed, self.tick, steps=steps, values=self.values)
            return {"inputs": list(self.graph.flat(made.x)), "what": made.description}

        made = self.kept(f"made-up-{seed}", make)
        inputs = tuple(made["inputs"])
        return Auxiliary(inputs, self.shrink(inputs), None, made["what"])

    def kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is made once, also where the attack is killed and goes on."""
        checkpoint = Checkpoint(self.file(name))
        made = checkpoint.load()
        if made is None:
            checkpoint.save(made := make())
        return made

    def file(self, name: str) -> Path | None:
        """Where a part of the attack keeps its state; None where it need not."""
        return None if self.folder is None else self.folder / f"{name}.pt"

    def part(self, start: float, share: float) -> AttackContext:
        """The same for a part of the attack, whose progress runs from `start` on over `share` of the whole."""
        return replace(self, tick=part(self.tick, start, share))

    def batches(self, count: int, rows: int) -> Iterator[tuple[slice, AttackContext]]:
        """Slices of at most `rows` of `count` samples, and the part of the attack that each of them is."""
        for first in range(0, count, rows):
            last = min(first + rows, count)
            yield slice(first, last), self.part(first / count, (last - first) / count)

    def query(self, inputs: Sequence[Tensor], salt: int = 1) -> tuple[Tensor, ...]:
        """What would be received of these inputs: asked of the edge, or computed by who knows its weights."""
        self._may_query()
        return self.channel.send(inputs, self.seed + salt)

    def queries(self, inputs: Sequence[Tensor], reduce: Reduce, into: Store | None = None, salt: int = 1) -> Draws:
        """As many queries of these inputs as are wanted, reduced; the first one is also added to `into`.

        Nothing is drawn twice. What is not random is received once: `Draws.at` then has no use.
        """
        self._may_query()
        kept = Store(len(inputs[0])) if self.channel.random else None
        self.channel.send(inputs, self.seed + salt, reduce, into, kept)
        return Draws(self.channel, () if kept is None else kept.tensors(), reduce, self.seed + salt)

    def _may_query(self) -> None:
        self._allowed("query the edge" in self.threat.may or "edge weights" in self.threat.knows, "queries")

    def edge(self, start: int = 0) -> nn.Module:
        """The edge half from cut `start` on: flat tensors in and out, differentiable, in eval mode."""
        self._allowed("edge weights" in self.threat.knows, "edge weights")
        return self.graph.piece(self.cut.index, start)

    def undefended(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The activation of flat inputs `[n, ...]` before any defense: of a variant its base's, where that was cut."""
        self._allowed("edge weights" in self.threat.knows, "edge weights")
        own = self.graph
        if isinstance(own, Variant):
            return carried(own.base, tuple(inputs), 0, own.base.cut(own.at).index)
        return carried(own, tuple(inputs), 0, self.cut.index)

    def cloud(self) -> nn.Module:
        """The cloud half: flat tensors in and out, differentiable, in eval mode."""
        self._allowed("cloud weights" in self.threat.knows, "cloud weights")
        return self.graph.piece(len(self.graph.cuts) - 1, self.cut.index)

    def body(self) -> nn.Module:
        """The cloud half up to where it knows least of the input: what it answers, or sends back; as `cloud`.

        Raises:
            NotMeasurableError: where nothing of it comes after what was received.
        """
        self._allowed("cloud weights" in self.threat.knows, "cloud weights")
        if self.floor_at is None:
            raise NotMeasurableError("nothing of the cloud half comes after the payload")
        return self.graph.piece(self.floor_at, self.cut.index)

    @property
    def strong(self) -> bool:
        """Whether to try hard."""
        return self.effort == "strong"

    def _allowed(self, allowed: bool, what: str) -> None:
        if not allowed:
            raise RuntimeError(f"this attack uses {what}, which its threat model does not grant: {self.threat}")


class Attack(Protocol):
    """One attack: says what it needs and recovers what it can.

    One that attacks harder than it once did has a `version` above 1, an attribute that others may leave out.
    """

    @property
    def name(self) -> str:
        """How it is called on the command line."""

    @property
    def threat(self) -> ThreatModel:
        """What the attacker knows, has and may do."""

    @property
    def about(self) -> str:
        """One line for people, with the paper."""

    @property
    def verifies(self) -> bool:
        """Whether `recommend` runs it on the plans that it would choose: it needs no more than what is sent."""

    def run(self, context: AttackContext) -> Recovered:
        """Attack all private samples.

        Raises:
            NotMeasurableError: when the attack failed or does not apply; that says nothing about privacy.
        """


def generator(seed: int) -> torch.Generator:
    """A seeded generator, apart from torch's own."""
    return torch.Generator().manual_seed(seed)
