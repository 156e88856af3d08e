"""Every row of the table of requirements fulfils the contract, and so does one that is added."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS
from advisor.testing.requirement_contract import RequirementContract
from advisor.units import duration, show_duration


class Member(RequirementContract):
    name = ""

    @pytest.fixture
    def row(self) -> Requirement:
        return REQUIREMENTS[self.name]


class TestLatency(Member):
    name, texts = "max_latency", ("5ms", "50 ms", "2s")


class TestAccuracyDrop(Member):
    name, texts = "max_accuracy_drop", ("0.5%", "2%", "0.1")


class TestSimilarity(Member):
    name, texts = "max_ssim", ("0.1", "30%", "0.9")


class TestError(Member):
    name, texts = "min_nmse", ("0.9", "70%", "0.1")


class TestEdgeMemory(Member):
    name, texts = "max_edge_memory", ("1MiB", "512 MB", "2GiB")


class TestAccuracy(Member):
    name, texts = "min_accuracy", ("90%", "0.8", "10%")


class TestThroughput(Member):
    name, texts = "min_throughput", ("60/s", "30", "1/s")


class TestBytes(Member):
    name, texts = "max_bytes", ("100B", "4KiB", "1MB")


class TestEdgeEnergy(Member):
    name, texts = "max_edge_energy", ("5mJ", "20mJ", "1J")


class TestEdgeMacs(Member):
    name, texts = "max_edge_macs", ("3000", "50M", "1.2G")


class TestGuarantee(Member):
    name, texts = "min_mse_bound", ("0.1", "0.01", "0.001")


class TestLabelLeakage(Member):
    name, texts = "max_label_leak", ("10%", "0.3", "90%")


class TestIds(Member):
    name, texts = "max_ids_recovered", ("1%", "0.1", "50%")


class TestMadeUp(RequirementContract):
    """Seconds that the edge computes on one input: one entry, nothing else."""

    texts = ("10ms", "2s")

    @pytest.fixture
    def row(self) -> Iterator[Requirement]:
        row = Requirement(
            "max_edge_latency",
            "edge_latency",
            "edge_latency",
            "at most",
            "s",
            duration,
            show_duration,
            "edge time",
            "Seconds on the edge of one input: 20ms.",
        )
        REQUIREMENTS[row.name] = row
        yield row
        del REQUIREMENTS[row.name]


def test_every_row_is_tried() -> None:
    assert {kind.name for kind in Member.__subclasses__()} == set(REQUIREMENTS)
