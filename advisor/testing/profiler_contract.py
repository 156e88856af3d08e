"""What every profiler must do, whatever it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from advisor.graph import PartitionGraph
from advisor.profilers import Profiler, device, link
from advisor.profilers.support.context import ProfilingContext
from advisor.testing.small_models import DigitNet, fixed
from advisor.tracing.tracer import trace


class ProfilerContract:
    """Inherit it and give the profiler as the fixture `profiler`: a function from a context to columns."""

    @pytest.fixture
    def profiler(self) -> Profiler:
        """The profiler under test."""
        raise NotImplementedError("give the profiler as a fixture")

    @pytest.fixture
    def graph(self) -> PartitionGraph:
        """A small model; give your own to try others."""
        return trace(fixed(DigitNet()), torch.zeros(2, 1, 8, 8))

    @pytest.fixture
    def context(self, graph: PartitionGraph) -> ProfilingContext:
        """Where it runs."""
        return ProfilingContext(graph, device("jetson"), link("wifi"), device("t4"))

    def test_columns_describe_themselves(self, profiler: Profiler, context: ProfilingContext) -> None:
        """Name, unit, good direction, source, method; one value a cut."""
        for column in profiler(context):
            assert column.name.isidentifier()
            assert len(column) == len(context.graph.cuts)
            assert column.unit
            assert column.better in ("low", "high")
            assert column.source in ("measured", "estimated", "bounded")
            assert column.method

    def test_values_lie_in_their_intervals_and_missing_ones_say_why(
        self, profiler: Profiler, context: ProfilingContext
    ) -> None:
        """NaN is never without its reason."""
        for column in profiler(context):
            known = ~np.isnan(column.values)
            assert (column.low[known] <= column.values[known]).all()
            assert (column.values[known] <= column.high[known]).all()
            assert all(column.why[i] for i in np.flatnonzero(~known))

    def test_the_same_model_costs_the_same(self, profiler: Profiler, context: ProfilingContext) -> None:
        """Of a catalog device, which is not measured."""
        for first, second in zip(profiler(context), profiler(context), strict=True):
            assert np.array_equal(first.values, second.values, equal_nan=True)

    def test_the_model_is_left_as_found(self, profiler: Profiler, context: ProfilingContext) -> None:
        """Weights, mode, gradients and random state."""
        module = context.graph.module
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        training, state = module.training, torch.get_rng_state()
        profiler(context)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
        assert module.training == training
        assert all(parameter.grad is None for parameter in module.parameters())
