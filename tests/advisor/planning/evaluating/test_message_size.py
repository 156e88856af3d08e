from __future__ import annotations

import zlib

import pytest
import torch

from advisor import wire
from advisor.defenses import NoDefense
from advisor.defenses.payload.quantize import Quantize8
from advisor.planning.evaluating.message_size import SAMPLES, as_sent


@pytest.mark.parametrize("defense", [NoDefense(), Quantize8()])
@pytest.mark.parametrize("compression", ["", "zlib"])
def test_bytes_are_those_of_the_messages(defense: NoDefense | Quantize8, compression: str) -> None:
    z = torch.rand(20, 4, 8, 8, generator=torch.Generator().manual_seed(0)).sub(0.7).relu()
    found, seconds = as_sent((z,), defense, compression)
    sizes = []
    for row in z[:SAMPLES].split(1):
        sent = defense.apply(row)
        message = wire.pack(list(sent) if isinstance(sent, tuple) else [sent])
        sizes.append(len(zlib.compress(message, 1)) if compression else len(message))
    assert found.value == pytest.approx(sum(sizes) / len(sizes))
    assert (found.unit, seconds.unit) == ("B", "s")
    assert seconds.value > 0
    assert defense.name in found.method


def test_many_zeros_compress_and_integers_go_as_they_are() -> None:
    z, mask = torch.zeros(3, 4, 16, 16), torch.ones(3, 9, dtype=torch.bool)
    plain, _ = as_sent((z, mask), Quantize8())
    small, _ = as_sent((z, mask), Quantize8(), "zlib")
    assert plain.value == 4 * 256 + 8 + 9 + len(wire.pack([*Quantize8().apply(z[:1]), mask[:1]])) - (4 * 256 + 8 + 9)
    assert small.value < plain.value / 5
