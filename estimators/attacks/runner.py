"""Attacks on one cut, on what is really sent, the defense included. Attacks verify; they do not guess."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from advisor.activations import ActivationCache
from advisor.attack_versions import FIRST
from advisor.computing.chosen_device import computing_on
from advisor.cuts import Cut
from advisor.defenses import Defense
from advisor.errors import AdvisorError, NotMeasurableError
from advisor.estimators.attacks import ATTACKS, Attack
from advisor.estimators.attacks.base import Auxiliary, Effort
from advisor.estimators.attacks.support.channel import Channel
from advisor.estimators.attacks.support.data_split import DataSplit, auxiliary_of, classes_of, split_data
from advisor.estimators.attacks.support.floor_finding import Asked, floor_of
from advisor.estimators.attacks.support.metrics import AttackResult
from advisor.estimators.attacks.support.one_attack import attacked
from advisor.estimators.inversion.alignment import BUDGETS
from advisor.graph import PartitionGraph
from advisor.measures.images import at_size
from advisor.payload import Payload
from advisor.progress import of_shares, silence
from advisor.tracing.given import as_graph

__all__ = ["ATTACKS", "AttackResult", "attack", "attack_cuts"]

WALK_BYTES = 2**30
"""The activations at the cuts attacked together are kept up to this size, for each set of samples; one that is
larger by itself is computed from the inputs, a few samples at a time."""

LABELS_A_CLASS = 4
"""Labels that a few-label attacker has of each class where it is not said: 40 for CIFAR-10, as in the papers."""


def attack(
    graph: PartitionGraph | nn.Module | str | Path,
    cut: Cut | int | str,
    x: Any,
    aux: Any = None,
    *,
    name: str | Attack = "ka",
    defense: Defense | str | None = None,
    budget: str = "quick",
    seed: int = 0,
    y: Tensor | None = None,
    aux_y: Tensor | None = None,
    aux_samples: int | None = None,
    labels: int | None = None,
    repeats: int = 1,
    beyond: Cut | int | str | None = None,
    tail: Cut | int | str | None = None,
    folder: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
    walks: ActivationCache | None = None,
    compute: str | torch.device | None = None,
    attack_size: int | str | None = None,
    reidentify: bool = True,
) -> AttackResult:
    """Attack one cut.

    The attacker knows the cut and the defense; what else it knows, has and may do stands in `ATTACKS[name].threat`,
    and nothing else is handed to it.

    Args:
        graph: the traced model; or a model, as `advisor.trace` takes it.
        cut: a cut, its index or its name.
        x: private samples, `[N, ...]` or a tuple or dict of such.
        aux: samples the attacker learns from; "synthetic": it makes them up; None: it learns from three quarters of
            `x`, drawn by the hash of each sample so that equal ones stay together, and attacks the rest, unless it
            needs none.
        name: which attack, of `ATTACKS`; or one of your own, itself or as `package.module:Name`.
        defense: what happens to the activation before it is sent: a defense, or its text.
        budget: "quick" or "strong".
        seed: same seed, same answer.
        y: `[N]` true labels of `x`, for attacks on labels; None: the model's own predictions.
        aux_y: labels of `aux`, likewise.
        aux_samples: the attacker has this many auxiliary samples at most.
        labels: how many of them it has labels for; None: four a class for an attacker of few labels, else all.
        repeats: how often each private input is sent; the attacker averages what it receives.
        beyond: a deeper cut up to which the cloud, which holds the body of a U-shaped plan, carries on what it received
            before it attacks; for attacks that need no weights of their own.
        tail: where the edge takes over again in a U-shaped plan: the floor is that of what is sent back there. None:
            that of the model's output.
        folder: where a killed attack keeps what it resumes from.
        progress: called with the fraction done.
        walks: shared by attacks on several cuts or defenses with the same samples, so that these cross once.
        compute: "auto", "cpu", "cuda", "cuda:1", "mps", or a device of torch; None: as of the run under way, else
            "auto".
        attack_size: pixels a side up to which images are reconstructed and scored, or "native" for their own size;
            None: 32, the size that `score` speaks of.
        reidentify: whether the model classifies what was reconstructed, in two forward passes of each attacked sample.

    Raises:
        AdvisorError: on an unknown attack or budget, or an attack that failed (which is never called private).
        DataError: when samples do not fit the model.
    """
    ((_, found),) = attack_cuts(
        graph, (cut,), x, aux, name=name, defense=defense, budget=budget, seed=seed, y=y, aux_y=aux_y,
        aux_samples=aux_samples, labels=labels, repeats=repeats, beyond=beyond, tail=tail, folder=folder,
        progress=progress and (lambda _, share: progress(share)), walks=walks, compute=compute,
        attack_size=attack_size, reidentify=reidentify,
    )  # fmt: skip
    if isinstance(found, AdvisorError):
        raise found
    return found


def attack_cuts(
    graph: PartitionGraph | nn.Module | str | Path,
    cuts: Sequence[Cut | int | str],
    x: Any,
    aux: Any = None,
    *,
    name: str | Attack = "ka",
    defense: Defense | str | None = None,
    budget: str = "quick",
    seed: int = 0,
    y: Tensor | None = None,
    aux_y: Tensor | None = None,
    aux_samples: int | None = None,
    labels: int | None = None,
    repeats: int = 1,
    beyond: Cut | int | str | None = None,
    tail: Cut | int | str | None = None,
    folder: str | Path | None = None,
    progress: Callable[[Cut, float], None] | None = None,
    walks: ActivationCache | None = None,
    compute: str | torch.device | None = None,
    attack_size: int | str | None = None,
    reidentify: bool = True,
) -> Iterator[tuple[Cut, AttackResult | AdvisorError]]:
    """Attack several cuts, the shallowest first, over one forward pass.

    Each result is the same as that of `attack` on its cut, and is handed out at once. The activation at a cut
    is computed from that at the one before, so that all of them cost one forward pass, as long as it is no larger
    than `WALK_BYTES`.

    Args:
        cuts: any of them, in any order.
        progress: called with the cut and the fraction done of it.

    The other arguments are those of `attack`.

    Yields:
        A cut, and what was recovered there; or the error that ended its attack, which says nothing about privacy.

    Raises:
        AdvisorError: on an unknown attack or budget.
        DataError: when samples do not fit the model.
    """
    chosen = _attack(name, budget)
    if repeats < 1:
        raise AdvisorError(f"{repeats} transmissions of an input make no sense.", "Pass 1 or more.")
    effort: Effort = "strong" if budget == "strong" else "quick"
    graph = as_graph(graph, x)
    places = sorted({graph.cut(cut).index for cut in cuts})
    further = None if beyond is None else _beyond(graph, beyond, places, chosen)
    end = _end(graph, tail, places)
    with computing_on(compute) as device, at_size(attack_size):
        given = split_data(graph, chosen, x, aux, y, aux_y, effort, seed)
        known = _known(graph, given, chosen, effort, seed, aux_samples, labels)
    given = dataclasses.replace(given, auxiliary=None)  # what the attacker takes of it is known
    if walks is None and len(places) > 1:
        walks = ActivationCache(graph, WALK_BYTES)
    for place in places:
        cut = graph.cuts[place]
        channel = Channel(Payload.of(graph, place, defense), repeats, walks, further)
        tell = silence if progress is None else of_shares(functools.partial(progress, cut))
        try:
            with computing_on(device), at_size(attack_size):
                found = attacked(channel, chosen, given, known, effort, seed, folder, tell, end, reidentify)
        except NotMeasurableError as error:
            said = "This says nothing about privacy; pass other samples."
            yield cut, AdvisorError(f"The attack failed: {error}.", said)
            continue
        found = dataclasses.replace(
            found, name=chosen.name, threat=chosen.threat, budget=budget, repeats=repeats, rows=given.rows,
            version=getattr(chosen, "version", FIRST),
        )  # fmt: skip
        again = functools.partial(attack, compute=device, attack_size=attack_size, reidentify=False)
        asked = Asked(again, x, aux, budget, seed, aux_samples, folder)
        yield cut, dataclasses.replace(found, source=floor_of(channel, found, end, asked))


def _end(graph: PartitionGraph, tail: Cut | int | str | None, places: Sequence[int]) -> int:
    """Where what the cloud computes is the model's output, or is sent back.

    Raises:
        AdvisorError: where the tail does not lie after the cuts.
    """
    if tail is None:
        return len(graph.cuts) - 1
    index = graph.cut(tail).index
    if any(place >= index for place in places):
        raise AdvisorError(f"{graph.cuts[index].name} does not lie after the cut that is attacked.", "Swap them.")
    return index


def _beyond(graph: PartitionGraph, beyond: Cut | int | str, places: Sequence[int], chosen: Attack) -> int:
    """Where the cloud listens.

    Raises:
        AdvisorError: where that does not lie after the cuts, or the attack works on the weights of a half.
    """
    index = graph.cut(beyond).index
    if any(place >= index for place in places):
        raise AdvisorError(f"{graph.cuts[index].name} does not lie after the cut that is attacked.", "Swap them.")
    if {"edge weights", "cloud weights"} & set(chosen.threat.knows):
        raise AdvisorError(
            f"Attack {chosen.name!r} works on the cut itself, not on what the cloud makes of it.", "Leave `beyond` out."
        )
    return index


def _attack(name: str | Attack, budget: str) -> Attack:
    if budget not in get_args(Effort):
        raise AdvisorError(f"There is no budget {budget!r}.", f"Known: {', '.join(BUDGETS)}.")
    return ATTACKS.find(name) if isinstance(name, str) else name


def _known(
    graph: PartitionGraph, given: DataSplit, chosen: Attack, effort: Effort, seed: int, aux_samples: int | None,
    labels: int | None,
) -> Auxiliary | None:  # fmt: skip
    if labels is None:
        labels = LABELS_A_CLASS * classes_of(graph, given) if "few labels" in chosen.threat.has else 10**9
    return auxiliary_of(given, effort, seed, aux_samples, labels)
