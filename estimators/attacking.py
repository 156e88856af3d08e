"""Attacks on one cut, on what is really sent, the defense included. Attacks verify; they do not guess."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from advisor.batches import first_scores
from advisor.cuts import Cut
from advisor.defenses import Defense, NoDefense
from advisor.errors import AdvisorError, DataError
from advisor.estimators.alignment import BUDGETS
from advisor.estimators.attacks import ATTACKS, Attack
from advisor.estimators.attacks.base import Effort, Known, Recovered, Scene
from advisor.estimators.attacks.channel import Channel
from advisor.estimators.scoring import AttackResult, reidentification, score_ids, score_inputs, score_labels
from advisor.estimators.study import pixels_of
from advisor.graph import PartitionGraph
from advisor.preserve import left_as_found, one_thread
from advisor.samples import split_holdout
from advisor.sweep import NotMeasurableError
from advisor.synthesis import synthesise

__all__ = ["ATTACKS", "AttackResult", "attack", "defended"]

LABELS_A_CLASS = 4
"""Labels that a few-label attacker has of each class where it is not said: 40 for CIFAR-10, as in the papers."""

SYNTHETIC = {"quick": 512, "strong": 4000}
"""Samples that are made up where the attacker learns from synthetic ones."""


def attack(
    graph: PartitionGraph,
    cut: Cut | int | str,
    x: Any,
    aux: Any = None,
    *,
    name: str | Attack = "ka",
    defense: Defense | None = None,
    budget: str = "quick",
    seed: int = 0,
    y: Tensor | None = None,
    aux_y: Tensor | None = None,
    aux_samples: int | None = None,
    labels: int | None = None,
    repeats: int = 1,
    folder: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> AttackResult:
    """Attack one cut.

    The attacker knows the cut and the defense; what else it knows, has and may do stands in `ATTACKS[name].threat`,
    and nothing else is handed to it.

    Args:
        graph: the traced model.
        cut: a cut, its index or its name.
        x: private samples, `[N, ...]` or a tuple or dict of such.
        aux: samples the attacker learns from; "synthetic": it makes them up; None: it learns from a random three
            quarters of `x` and attacks the rest, unless it needs none.
        name: which attack, of `ATTACKS`; or an attack of your own.
        defense: what happens to the tensor before it leaves.
        budget: "quick" or "strong".
        seed: same seed, same answer.
        y: `[N]` true labels of `x`, for attacks on labels; None: the model's own predictions.
        aux_y: labels of `aux`, likewise.
        aux_samples: the attacker has this many auxiliary samples at most.
        labels: how many of them it has labels for; None: four a class for an attacker of few labels, else all.
        repeats: how often each private input is sent; the attacker averages what it receives.
        folder: where a killed attack keeps what it resumes from.
        progress: called with the fraction done.

    Raises:
        AdvisorError: on an unknown attack or budget, or an attack that failed (which is never called private).
        DataError: when samples do not fit the model.
    """
    chosen = _attack(name, budget)
    if repeats < 1:
        raise AdvisorError(f"{repeats} transmissions of an input make no sense.", "Pass 1 or more.")
    effort: Effort = "strong" if budget == "strong" else "quick"
    sides = _sides(graph, chosen, x, aux, y, aux_y, effort, seed)
    channel = Channel(graph, graph.cut(cut).index, defense or NoDefense(), repeats)
    scene = _scene(graph, channel, chosen, sides, effort, seed, aux_samples, labels)
    if progress:
        scene = dataclasses.replace(scene, tick=progress)
    if folder is not None:
        scene = dataclasses.replace(scene, folder=_own_folder(Path(folder), scene))
    try:
        with left_as_found(graph.module), one_thread():
            torch.manual_seed(seed)
            found = chosen.run(scene)
        scored = _scored(graph, chosen, found, sides, scene)
    except NotMeasurableError as error:
        raise AdvisorError(
            f"The attack failed: {error}.", "This says nothing about privacy; pass other samples."
        ) from None
    return dataclasses.replace(
        scored, name=chosen.name, threat=chosen.threat, budget=budget, repeats=repeats, rows=sides.rows
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Sides:
    """Who has what: private samples with labels, auxiliary ones with labels and where they come from."""

    private: tuple[Tensor, ...]
    labels: Tensor | None
    rows: Tensor
    auxiliary: tuple[Tensor, ...] | None
    auxiliary_labels: Tensor | None
    what: str


def _attack(name: str | Attack, budget: str) -> Attack:
    if (isinstance(name, str) and name not in ATTACKS) or budget not in get_args(Effort):
        known = f"attacks {', '.join(ATTACKS)}; budgets {', '.join(BUDGETS)}"
        raise AdvisorError(f"There is no attack {name!r} with budget {budget!r}.", f"Known: {known}.")
    return ATTACKS[name] if isinstance(name, str) else name


def _sides(
    graph: PartitionGraph, chosen: Attack, x: Any, aux: Any, y: Tensor | None, aux_y: Tensor | None, effort: Effort,
    seed: int,
) -> _Sides:  # fmt: skip
    everything = graph.flat(x)
    rows, needs = torch.arange(len(everything[0])), "auxiliary inputs" in chosen.threat.has
    truth = _labels(graph, everything, y, chosen)
    learning, learning_y, what = None, None, ""
    if isinstance(aux, str):
        if aux != "synthetic":
            raise DataError(f"Auxiliary samples {aux!r} are unknown.", 'Pass samples, None or "synthetic".')
        made = synthesise(graph, SYNTHETIC[effort], seed + 2)
        learning, what = graph.flat(made.x), made.description
        learning_y = _labels(graph, learning, None, chosen)
    elif aux is not None:
        learning, what = graph.flat(aux), "auxiliary samples as given"
        learning_y = _labels(graph, learning, aux_y, chosen)
    elif needs:
        learnt, rows = split_holdout(len(everything[0]), seed)
        learning, what = tuple(t[learnt] for t in everything), "auxiliary samples of the same distribution"
        learning_y = None if truth is None else truth[learnt]
    most = BUDGETS[effort].held_out or len(rows)
    if len(rows) > most:
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most].sort().values]
    private = tuple(t[rows] for t in everything)
    return _Sides(private, None if truth is None else truth[rows], rows, learning, learning_y, what)


def _labels(graph: PartitionGraph, inputs: tuple[Tensor, ...], y: Tensor | None, chosen: Attack) -> Tensor | None:
    """Labels where the attack is about them: as given, else what the model says."""
    if not {"few labels", "labels"} & set(chosen.threat.has) and chosen.threat.recovers != "label":
        return None
    if y is not None:
        if len(y) != len(inputs[0]):
            raise DataError(f"There are {len(inputs[0])} samples and {len(y)} labels.", "Pass one label a sample.")
        return torch.as_tensor(y).long()
    scores = first_scores(graph, inputs)
    if scores is None or scores.dim() != 2 or scores.shape[1] < 2:
        raise DataError("This model gives no class scores: there are no labels to recover.", "Pass y.")
    return scores.argmax(1)


def _scene(
    graph: PartitionGraph, channel: Channel, chosen: Attack, sides: _Sides, effort: Effort, seed: int,
    aux_samples: int | None, labels: int | None,
) -> Scene:  # fmt: skip
    discrete = not any(t.dtype.is_floating_point for t in sides.private)
    if discrete and chosen.threat.recovers == "input":
        raise DataError("The inputs are discrete: there are no pixels to reconstruct.", "Attack their ids: --name ids.")
    pixels, images, _ = pixels_of(sides.private)
    classes = _classes(graph, sides)
    if labels is None:
        labels = LABELS_A_CLASS * classes if "few labels" in chosen.threat.has else 10**9
    known = _known(sides, effort, seed, aux_samples, labels)
    return Scene(
        graph=graph, cut=graph.cuts[channel.stop], sent=channel.send(sides.private, seed), channel=channel,
        auxiliary=known, template=pixels[:0], images=images, shrink=lambda flat: pixels_of(flat)[0],
        classes=classes, effort=effort, seed=seed, threat=chosen.threat,
    )  # fmt: skip


def _classes(graph: PartitionGraph, sides: _Sides) -> int:
    given = [t for t in (sides.labels, sides.auxiliary_labels) if t is not None and len(t)]
    shape = graph.cuts[-1].tensors[0].shape if graph.cuts[-1].tensors else ()
    return max([1, *(int(t.max()) + 1 for t in given), *(shape if len(shape) == 1 else ())])


def _known(
    sides: _Sides, effort: Effort, seed: int, aux_samples: int | None, labels: int
) -> Known | None:
    """The attacker's own samples in random order, so that the first few are as good as any."""
    if sides.auxiliary is None:
        return None
    n, most = len(sides.auxiliary[0]), min(m for m in (aux_samples, BUDGETS[effort].auxiliary, 10**9) if m)
    order = torch.arange(n)
    if n > most:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most].sort().values
    inputs = tuple(t[order] for t in sides.auxiliary)
    few = None
    if sides.auxiliary_labels is not None:
        few = few_labels(sides.auxiliary_labels[order], labels, seed)
    return Known(inputs, pixels_of(inputs)[0], few, f"{sides.what}, {len(order):,} of {n:,}")


def few_labels(labels: Tensor, count: int, seed: int) -> Tensor:
    """`labels` with all but `count` of them hidden (-1): as many of each class as there are, drawn at random."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    turn = torch.zeros(len(labels), dtype=torch.long)
    for label in labels.unique():
        mine = order[labels[order] == label]
        turn[mine] = torch.arange(len(mine))
    shown = order[turn[order].argsort(stable=True)][: max(count, 0)]
    hidden = torch.full_like(labels, -1)
    hidden[shown] = labels[shown]
    return hidden


def _own_folder(folder: Path, scene: Scene) -> Path:
    """A folder of this attack's own: another attack, tensor, seed or defense never resumes from it."""
    said = f"{scene.graph.cuts[scene.cut.index]};{scene.channel.defense};{scene.effort};{scene.seed};{len(scene)}"
    digest = hashlib.sha256(f"{said};{scene.threat}".encode())
    for tensor in (*scene.sent, *(scene.auxiliary.inputs if scene.auxiliary else ())):
        digest.update(tensor.detach().double().sum(0).contiguous().numpy().tobytes())
    return folder / digest.hexdigest()[:16]


def _scored(graph: PartitionGraph, chosen: Attack, found: Recovered, sides: _Sides, scene: Scene) -> AttackResult:
    secret: Literal["input", "label", "ids"] = chosen.threat.recovers
    if secret == "label":
        assert sides.labels is not None
        return score_labels(found, sides.labels)
    if secret == "ids":
        ids = [t.reshape(len(t), -1) for t in sides.private if not t.dtype.is_floating_point]
        return score_ids(found, torch.cat(ids, 1))
    original, images, note = pixels_of(sides.private)
    known = scene.auxiliary if "auxiliary inputs" in chosen.threat.has else None
    mean = original.mean(0) if known is None else known.pixels.mean(0)
    if not float((original - mean).square().mean()) > 0:
        raise NotMeasurableError("every scored input equals the mean of the others")
    result = score_inputs(found, original, mean, images)
    whose = "of the private samples themselves" if known is None else f"of the attacker's: {known.what}"
    notes = (*result.notes, f"NMSE divides by the error of the mean {whose}", *([note] if "reduced" in note else []))
    return dataclasses.replace(
        result, notes=notes, reidentified=reidentification(graph, sides.private, result.reconstructions)
    )


def defended(sent: tuple[Tensor, ...], defense: Defense, seed: int) -> tuple[Tensor, ...]:
    """What the cloud receives, each `[n, ...]` in its own dtype: defended, sent and restored."""
    generator = torch.Generator().manual_seed(seed)
    return defense.receive(defense.send(sent, generator), [z.dtype for z in sent])
