"""TrainedDefense: a method that fits an encoder and a decoder to a cut; what it is handed, and what it gives back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from advisor.defenses.payload.base import Need
from advisor.errors import AdvisorError
from advisor.progress import Progress, silence

if TYPE_CHECKING:
    from torch import Tensor, nn

    from advisor.cuts import Cut
    from advisor.defenses.payload.space import Distribution
    from advisor.graph import PartitionGraph
    from advisor.variant import Variant
    from advisor.variant_parts import Change


ENOUGH_STEPS, FEWEST_EPOCHS = 500, 6
"""Of a fit whose recipe leaves its length open: few samples are passed over more often.

An encoder learns to hide over hundreds of steps: `ridge` on 900 digits left an NMSE of 0.08 at a drop of 2.5 points
after 48 steps, and 0.26 at 3.8 after 800.
"""


@dataclass(frozen=True, eq=False)
class FitTask:
    """What is to be fitted, and to what.

    Attributes:
        graph, cut: the traced model, and where.
        inputs: flat training samples, each `[N, ...]`.
        labels: `[N]`, or None: the method learns what the undefended model answers.
        validation: flat samples to stop by, each `[M, ...]`; None: the method takes a part of the training samples.
        tail: where the edge takes over again (U-shaped), or None.
        seed: same seed, same fit.
        folder: where a killed fit keeps what it goes on from, or None.
        progress: told the share that is done, 0 to 1.
        recipe: the method's own settings.
        start: the variant of an earlier fit of the same shape at this cut, whose weights it goes on from; None: anew.
        key: digest of all that decides the fit; see `fit_key`.
    """

    graph: PartitionGraph
    cut: Cut
    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None
    validation: tuple[Tensor, ...] | None = None
    tail: Cut | None = None
    seed: int = 0
    folder: Path | None = None
    progress: Progress = silence
    recipe: Mapping[str, Any] = field(default_factory=dict)
    start: Variant | None = None
    key: str = ""

    @property
    def checkpoint(self) -> Path | None:
        """Where a killed fit of this task goes on from."""
        return None if self.folder is None else self.folder / f"fit-{self.key[:16]}.pt"


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a method gives back.

    Attributes:
        encoder: takes the cut's tensors, returns the payload; see `variant_of`.
        decoder: takes the payload, returns the cut's tensors again.
        recipe: the settings that were used, defaults included; plain JSON values.
        notes: what should be said beside it, one sentence each.
        edge_weights, cloud_weights: of the model's own that changed, by their names in the graph.
        against: estimators that it was trained against: for its variant they measure nothing any more.
        answers: the decoder gives the model's outputs, and the cloud half is not run.
    """

    encoder: nn.Module
    decoder: nn.Module
    recipe: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    edge_weights: Mapping[str, Tensor] = field(default_factory=dict)
    cloud_weights: Mapping[str, Tensor] = field(default_factory=dict)
    against: tuple[str, ...] = ()
    answers: bool = False


class TrainedDefense(ABC):
    """One method, one file; it fits modules and knows nothing of how a variant is priced, attacked or exported."""

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for people, with the paper."""
    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})
    """What it must be handed; "labels" where the model's own answers do not do."""
    changes: ClassVar[tuple[Change, ...]] = ("app",)
    """What somebody must change for it to be deployed."""
    broken_by: ClassVar[tuple[str, ...]] = ("ka",)
    """Names of the attacks that it must face."""
    weakness: ClassVar[str] = ""
    """What breaks it, in one line for people."""
    paper: ClassVar[str] = ""
    """Where it comes from."""
    cost: ClassVar[str] = ""
    """What a fit takes, in one line for people: a step's price beside a plain step of what is trained."""
    chain: ClassVar[str] = "gaussian"
    """Payload defense that its variant is used with: noise of the wanted sigma, or "reparam" where it draws itself."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """The recipe's settings with their defaults."""
    space: ClassVar[Mapping[str, Distribution]] = {}
    """What the search may choose of the recipe, by name."""

    def epochs(self, recipe: Mapping[str, Any], samples: int) -> int:
        """Passes over the samples: as the recipe says, else as many as make a fit of `ENOUGH_STEPS`."""
        given = recipe.get("epochs", 1)
        if given is not None:
            return int(given)
        return max(FEWEST_EPOCHS, math.ceil(ENOUGH_STEPS / math.ceil(samples / max(1, int(recipe.get("batch", 128))))))

    def initial_trials(self, cut: Cut) -> tuple[dict[str, Any], ...]:
        """Recipes that are worth trying first at a cut, the best bet first."""
        return ({},)

    @abstractmethod
    def fit(self, task: FitTask) -> Fitted:
        """Fit encoder and decoder; `task.recipe` holds every setting.

        Raises:
            AdvisorError: when the method does not fit the cut, or training does not recover.
        """

    def complete(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe with the defaults of what it leaves open.

        Raises:
            AdvisorError: on a setting that the method does not have, or a word or a range where a number is meant.
        """
        unknown = [name for name in recipe if name not in self.settings]
        if unknown:
            known = ", ".join(self.settings) or "none"
            raise AdvisorError(f"The defense {self.name!r} has no setting {unknown[0]!r}.", f"It has: {known}.")
        for name, value in recipe.items():
            _check_kind(name, value, self.settings[name])
        return {**self.settings, **recipe}


def _check_kind(name: str, value: object, default: object) -> None:
    """What is a number, a range or a word by default is one in a recipe."""
    kinds = ((int | float | None, "a number"), (tuple | list, "a range low..high"), (str, "a word"))
    for kind, said in kinds:
        if isinstance(default, kind) and not isinstance(value, kind):
            raise AdvisorError(f"The setting {name!r} is {said}, not {value!r}.", f"Its default: {default}.")
