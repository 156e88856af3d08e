"""What every trained defense must do, whatever it learns: a small fit on digits, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
import torch

from advisor.defenses.payload.base import Need
from advisor.defenses.training.base import TrainedDefense
from advisor.defenses.training.defending import defend
from advisor.defenses.training.fitted_files import load_variant, save_variant
from advisor.errors import AdvisorError
from advisor.estimators.attacks import ATTACKS
from advisor.graph import PartitionGraph
from advisor.testing.small_models import digits, trained
from advisor.tracing.tracer import trace
from advisor.variant import Variant
from advisor.variant_parts import Change

CUT, SAMPLES, SEED = "conv2", 96, 3
_fits: dict[tuple[type, str, int], Variant] = {}


class MethodContract:
    """Inherit it and give the method as the fixture `method`; `recipe` may make its fit short."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the fits in these tests: one epoch is enough."""

    @pytest.fixture
    def method(self) -> TrainedDefense:
        """The method under test."""
        raise NotImplementedError("give the method as a fixture")

    @pytest.fixture
    def graph(self) -> PartitionGraph:
        """The model that is defended."""
        return trace(trained(), digits(2)[0])

    @pytest.fixture
    def variant(self, method: TrainedDefense, graph: PartitionGraph) -> Variant:
        """The defended model: one fit serves all tests."""
        return self._fitted(method, graph, SEED)

    def _fitted(self, method: TrainedDefense, graph: PartitionGraph, seed: int) -> Variant:
        key = type(method), json.dumps(dict(self.recipe), sort_keys=True, default=str), seed
        if key not in _fits:
            x, y = digits(SAMPLES)
            _fits[key] = defend(graph, CUT, method, x, y, seed=seed, **self.recipe)
        return _fits[key]

    def test_it_says_what_the_rest_must_know(self, method: TrainedDefense) -> None:
        """Name, a line for people, what it needs, what it changes, and which attacks it must face."""
        assert method.name
        assert method.about
        assert method.needs <= set(get_args(Need))
        assert set(method.changes) <= set(get_args(Change))
        assert method.broken_by
        assert set(method.broken_by) <= set(ATTACKS)

    def test_its_settings_are_plain_and_others_are_refused(self, method: TrainedDefense) -> None:
        """What is written in a recipe can be recorded."""
        whole = method.complete({})
        assert set(whole) == set(method.settings)
        json.dumps(whole)
        with pytest.raises(AdvisorError, match="has no setting 'nobody_has_this'"):
            method.complete({"nobody_has_this": 1})

    def test_what_it_makes_is_a_graph_whose_payload_is_one_of_its_cuts(
        self, variant: Variant, graph: PartitionGraph
    ) -> None:
        """The cuts of the base keep their names, and the halves of the payload make the whole."""
        assert isinstance(variant, Variant)
        assert variant.base.digest == graph.digest
        assert variant.payload in variant.cuts
        names = [cut.name for cut in variant.cuts]
        assert len(set(names)) == len(names)
        assert {cut.name for cut in graph.cuts if cut.name in ("input", "output", CUT)} <= set(names)
        x, _ = digits(8)
        edge, cloud = variant.split(variant.payload)
        with torch.no_grad():
            assert torch.equal(cloud(edge(x)), variant(x))

    def test_rows_stay_apart(self, variant: Variant) -> None:
        """The answer to a sample does not depend on which others are in its batch."""
        x, _ = digits(6)
        with torch.no_grad():
            assert torch.allclose(variant(x)[:2], variant(x[:2]), atol=1e-5)

    def test_it_computes_the_same_each_time_and_has_gradients(self, variant: Variant) -> None:
        """No sampling, rounding or top-k inside: attacks descend through it."""
        x, _ = digits(4)
        x.requires_grad_(True)
        edge = variant.piece(variant.payload.index, 0)
        with torch.enable_grad():
            first, second = edge(x), edge(x)
            (gradient,) = torch.autograd.grad(sum(sent.sum() for sent in first), x)
        assert all(map(torch.equal, first, second))
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) > 0

    def test_the_model_is_left_as_found(self, method: TrainedDefense, graph: PartitionGraph) -> None:
        """Its weights, mode and gradients, and torch's random state, where another fit is made."""
        before, digest = torch.get_rng_state(), graph.digest
        weights = {name: value.clone() for name, value in trained().state_dict().items()}
        self._fitted(method, graph, SEED + 1)
        assert torch.equal(torch.get_rng_state(), before)
        assert graph.digest == digest
        assert all(torch.equal(value, weights[name]) for name, value in trained().state_dict().items())
        assert all(parameter.grad is None for parameter in trained().parameters())

    def test_the_same_seed_gives_the_same_variant(
        self, method: TrainedDefense, graph: PartitionGraph, variant: Variant
    ) -> None:
        """Bit for bit."""
        x, y = digits(SAMPLES)
        again = defend(graph, CUT, method, x, y, seed=SEED, **self.recipe)
        assert again.digest == variant.digest

    def test_it_changes_no_more_than_it_declares(self, method: TrainedDefense, variant: Variant) -> None:
        """Who deploys it must know whose weights are others."""
        assert set(variant.changes) <= set(method.changes)

    def test_its_recipe_is_plain_json_and_names_method_base_and_seed(
        self, method: TrainedDefense, variant: Variant
    ) -> None:
        """It names method, base and seed, and is recorded in the advice and in the file."""
        recipe = json.loads(json.dumps(dict(variant.recipe)))
        assert (recipe["method"], recipe["base"], recipe["seed"]) == (method.name, variant.base.digest, SEED)
        assert set(method.settings) <= set(recipe)

    def test_it_is_loaded_from_a_file_without_its_code(
        self, variant: Variant, graph: PartitionGraph, tmp_path: Path
    ) -> None:
        """The same weights, the same payload."""
        again = load_variant(save_variant(variant, tmp_path), graph)
        assert again.digest == variant.digest
        assert again.payload.tensors == variant.payload.tensors
