"""Bytes as they are sent: after the defense, in the wire's form, compressed where the link says so; measured."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

from advisor import wire
from advisor.defenses import Defense
from advisor.estimate import Estimate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, LEVEL = 16, 1
"""Inputs that are packed one by one; zlib's fastest level: an edge has no time for more."""


def as_sent(activation: tuple[Tensor, ...], defense: Defense, compression: str = "") -> tuple[Estimate, Estimate]:
    """Bytes of one input on the wire, and seconds to pack and unpack it on this computer.

    Args:
        activation: undefended, each tensor `[N, ...]`.
        defense: what is done to them before they leave.
        compression: "" or "zlib".

    Returns:
        Means over up to `SAMPLES` inputs with their spread.
    """
    sizes, times = [], []
    for i in range(min(SAMPLES, activation[0].shape[0])):
        sent = defense.message([tensor[i : i + 1] for tensor in activation])
        begun = time.perf_counter()
        message = wire.pack(sent)
        message = zlib.compress(message, LEVEL) if compression else message
        received = zlib.decompress(message) if compression else message
        wire.unpack(received)
        times.append(time.perf_counter() - begun)
        sizes.append(len(message))
    how = f"packed{' and compressed by zlib' if compression else ''}, {len(sizes)} inputs"
    return (
        Estimate.of_mean(sizes, "B", f"as sent by {defense.name}, {how}"),
        Estimate.of_mean(times, "s", f"{how}, on this computer"),
    )
