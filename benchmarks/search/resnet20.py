"""The grid of ResNet-20 on CIFAR-10: six block cuts × eight defenses, five of them fitted, at three levels of noise.

`python -m benchmarks.search.resnet20 --minutes 60` measures what has no row yet; fits are kept in `--state`, so that a
killed run goes on. The short fit that the search ranks cuts and methods by has rows of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch

import advisor
from advisor import profilers
from advisor.data.roles import Roles
from advisor.data.samples import Samples
from advisor.defenses.methods import METHODS
from advisor.defenses.training.defending import FEWEST
from advisor.defenses.training.fitted_files import load_variant, save_variant
from advisor.estimators.study.leakage_study import study
from advisor.graph import PartitionGraph
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.fits.fit_recipes import fitted_of, recipe_at
from advisor.planning.fits.variant_pricing import VariantEvaluator, of_fit
from benchmarks.search.ground_truth import SHORT, Grid, Key, Row, measured, priced_and_attacked, short_of

sys.path.insert(0, str(Path(__file__).parents[1] / "papers"))
from common import cifar, data_folder, resnet20

CUTS = ("stem.2", "stage1.0.relu#2", "stage1.2.relu#2", "stage2.0.relu#2", "stage2.2.relu#2", "stage3.0.relu#2")
FITTED = ("ridge", "bottleneck", "tuned", "adversarial", "infoscissors")
LEVELS = (0.1, 0.25, 0.5)
"""Of the noise of what is fitted, in units of the payload's root mean square."""
SHORT_LEVEL = 0.25
"""The one level at which a short fit is priced."""
TRAINING, EPOCHS, SHORT_SAMPLES = 8_000, 4, 7_680
"""Images and passes of a fit: 250 steps of 128; a short one takes 60."""
DEVICE, LINK = "raspberry-pi-4b", "bandwidth=2Mbps,rtt=50ms"
TABLE = Path(__file__).with_suffix(".csv")


def evaluator() -> PlanEvaluator:
    """Prices plans of the network: 400 images for validation, 1,000 of the attacker, 300 private ones."""
    graph = advisor.trace(resnet20(), torch.rand(2, 3, 32, 32), granularity="block")
    parts = {"validation": cifar("test", 400), "attacker": cifar("train", 1_000), "private": cifar("test", 300, 1_000)}
    roles = Roles({name: Samples(x, y, "CIFAR-10", name) for name, (x, y) in parts.items()})
    private, own = roles["private"], roles["attacker"]
    found = study(graph, private.x, private.y, own.x, own.y)
    device, link = profilers.device(DEVICE), profilers.link(LINK)
    cost = advisor.profile(graph, device, link)
    return PlanEvaluator(graph, cost.joined(found.profile), found, roles, device, link, 0, only=CUTS)


def training() -> Samples:
    """Images that no other role has."""
    with np.load(data_folder() / "cifar10_more.npz") as file:
        x, y = torch.from_numpy(file["x_train"][:TRAINING]).float() / 255, torch.from_numpy(file["y_train"][:TRAINING])
    return Samples(x, y.long(), "CIFAR-10", "training")


class ResNet20Grid(Grid):
    """With defenses that are fitted.

    Args:
        state: folder of the fits.
    """

    levels, methods = 3, FITTED

    def __init__(self, state: Path) -> None:
        self.evaluator, self.state = evaluator(), state

    def keys_of(self, method: str) -> list[Key]:
        """Cut by cut, a short fit at one level and a whole one at all."""
        levels = [(method, level) for level in LEVELS]
        return [(cut, *known) for cut in CUTS for known in ((short_of(method), SHORT_LEVEL), *levels)]

    def row(self, key: Key) -> Row:
        """One plan, priced and attacked."""
        if key in self.plans:
            return super().row(key)
        cut, defense, level = key
        priced, seconds = self.fitted(cut, defense)
        return priced_and_attacked(priced, priced.payload, priced.noise(level), seconds)

    def fitted(self, cut: str, defense: str) -> tuple[VariantEvaluator, float]:
        """What prices a fit, and the processor's seconds that the fit took; from disk where it was made before."""
        index, graph = self.state / f"{cut}-{defense}.json", self.evaluator.graph
        short = defense == short_of(defense)
        if index.exists():
            kept = json.loads(index.read_text(encoding="utf-8"))
            variant, seconds = load_variant(self.state / kept["file"], graph), float(kept["seconds"])
        else:
            started = time.process_time()
            variant = fit(graph, cut, defense, SHORT_SAMPLES if short else TRAINING, 1 if short else EPOCHS)
            seconds = time.process_time() - started
            told = {"file": str(save_variant(variant, self.state).relative_to(self.state)), "seconds": seconds}
            index.write_text(json.dumps(told), encoding="utf-8")
        return of_fit(self.evaluator, variant, fitted_of(variant, seconds, short)), seconds

    @cached_property
    def outlines(self) -> dict[tuple[str, str], VariantEvaluator]:
        """One step of each fit: what it costs in use does not hang on what was learnt."""
        found, graph = {}, self.evaluator.graph
        for method, cut in product(self.methods, CUTS):
            for defense in (method, short_of(method)):
                variant = fit(graph, cut, method, 2 * FEWEST if defense == method else FEWEST, 1)
                short = defense != method
                found[cut, defense] = of_fit(self.evaluator, variant, fitted_of(variant, 0.0, short))
        return found


def fit(graph: PartitionGraph, cut: str, defense: str, samples: int, epochs: int) -> advisor.Variant:
    """A method fitted with the recipe that `recommend` takes at this cut."""
    method, data, held = defense.removesuffix(SHORT), training(), cifar("test", 400, 400)[0]
    recipe = recipe_at(method, graph.cut(cut), None) | {"epochs": epochs}
    labels = data.labels[:samples] if "labels" in METHODS.find(method).needs and data.labels is not None else None
    return advisor.defend(graph, cut, method, data.x[:samples], labels, val=held, seed=0, **recipe)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--state", type=Path, default=Path("resnet20-fits"), help="where fits are kept")
    asked.add_argument("--minutes", type=float, default=float("inf"), help="after which no further row is begun")
    asked.add_argument("--out", type=Path, default=TABLE)
    given = asked.parse_args()
    given.state.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    measured(ResNet20Grid(given.state), given.out, given.minutes)
