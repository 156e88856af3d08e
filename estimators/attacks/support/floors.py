"""The floor of a payload: what `ka` finds in the model's output alone, which the cloud computes from what it receives.

An attack on the payload that is left with more has failed; that is no privacy.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from advisor.errors import AdvisorError
from advisor.estimate import Estimate

KEPT = 256
_FOUND: OrderedDict[Hashable, Estimate] = OrderedDict()

METHOD = "ka on the model's output, computed from what is received"


@dataclass(frozen=True, eq=False)
class Floor:
    """Found when it is asked for, once for each key in this process.

    Attributes:
        find: the NMSE of `ka` on the output.
        key: graph, payload, samples and effort.
    """

    find: Callable[[], Estimate]
    key: Callable[[], Hashable] | None = None

    @cached_property
    def value(self) -> Estimate:
        """NMSE; NaN with its reason where it could not be found."""
        key = None if self.key is None else self.key()
        if key is not None and key in _FOUND:
            _FOUND.move_to_end(key)
            return _FOUND[key]
        try:
            found = self.find()
        except AdvisorError as error:
            found = none(f"the floor could not be found: {error.problem}")
        if key is not None:
            _FOUND[key] = found
            while len(_FOUND) > KEPT:
                _FOUND.popitem(last=False)
        return found


def none(reason: str) -> Estimate:
    """No floor, and why."""
    return Estimate(math.nan, method=reason)


def fixed(found: Estimate) -> Floor:
    """One that is known."""
    return Floor(lambda: found)


def fingerprint(samples: Iterable[Tensor]) -> str:
    """Of the bytes of tensors."""
    total = hashlib.blake2b()
    for t in samples:
        total.update(f"{t.dtype}{tuple(t.shape)}".encode())
        total.update(t.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
