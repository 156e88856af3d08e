"""Every row of the table of requirements fulfils the contract, and so does one that is added."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from advisor.requirements import REQUIREMENTS, Requirement
from advisor.testing.requirement_contract import RequirementContract
from advisor.units import show_size, size


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


class TestMadeUp(RequirementContract):
    """What is sent of one input: one entry, nothing else."""

    texts = ("100B", "4KiB")

    @pytest.fixture
    def row(self) -> Iterator[Requirement]:
        row = Requirement(
            "max_payload", "bytes", "bytes", "at most", "B", size, show_size, "payload", "Bytes of one input: 4KiB."
        )
        REQUIREMENTS[row.name] = row
        yield row
        del REQUIREMENTS[row.name]


def test_every_row_is_tried() -> None:
    assert {kind.name for kind in Member.__subclasses__()} == set(REQUIREMENTS)
