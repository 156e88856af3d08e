"""Roles: who has which sample. No sample plays two: equal samples, found by their bytes, share a role.

Training (for defenses that are fitted), validation (accuracy, early stops), the attacker's own, the private ones that
are attacked, and a test part for the final accuracy. With one source of data they are drawn by a hash of each sample's
bytes and the seed, so that a sample keeps its role however many others there are, and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from advisor.data.samples import Samples
from advisor.data.tensors import tensors_of
from advisor.errors import DataError

Role = Literal["training", "validation", "attacker", "private", "test"]
SHARES: Mapping[Role, float] = {"validation": 0.25, "attacker": 0.50, "private": 0.25}
"""With one source of data."""
SHARES_TRAINED: Mapping[Role, float] = {"training": 0.40, "validation": 0.15, "attacker": 0.30, "private": 0.15}
"""With one source of data and a defense that is trained."""
ORDER: tuple[Role, ...] = ("training", "validation", "attacker", "private", "test")
"""A sample that two sources hold keeps the earlier role."""
FEWEST = 2
"""Samples that a role needs."""


@dataclass(frozen=True)
class Roles:
    """Samples by role.

    Attributes:
        samples: those of each role that has any.
        notes: what was left out, one sentence each.
    """

    samples: Mapping[Role, Samples]
    notes: tuple[str, ...] = ()

    def __getitem__(self, role: Role) -> Samples:
        if role not in self.samples:
            raise DataError(f"There are no samples for the role {role}.", "Pass more data.")
        return self.samples[role]

    def __contains__(self, role: object) -> bool:
        return role in self.samples

    def to_json(self) -> dict[str, dict[str, int | str]]:
        """Size, fingerprint and source of each role, to be recorded; no sample."""
        return {
            role: {"samples": len(found), "fingerprint": found.fingerprint, "description": found.description}
            for role, found in self.samples.items()
        }


def hashes(samples: Samples) -> list[bytes]:
    """SHA-256 of each sample's bytes, shapes and dtypes, labels apart: equal samples have equal ones."""
    import torch

    tensors = [t.detach().cpu().contiguous() for t in tensors_of(samples.x)]
    kind = ";".join(f"{tuple(t.shape[1:])} {t.dtype}" for t in tensors).encode()
    zeroed = [t + 0 if t.is_floating_point() else t for t in tensors]  # -0 equals 0
    rows = [t.reshape(len(t), -1).view(torch.uint8).numpy() for t in zeroed]
    return [hashlib.sha256(kind + b"".join(row[i].tobytes() for row in rows)).digest() for i in range(len(samples))]


def drawn(samples: Samples, seed: int = 0, shares: Mapping[Role, float] = SHARES) -> Roles:
    """One source of data divided by the hash of each sample's bytes and the seed.

    Args:
        samples: fitted to the model.
        seed: same seed, same roles.
        shares: of each role; they sum to one.

    Raises:
        DataError: where a role would get fewer than two different samples.
    """
    own = hashes(samples)
    chosen = [_role(_position(value, seed), shares) for value in own]
    parts = {role: _rows(samples, [i for i, r in enumerate(chosen) if r == role]) for role in ORDER if role in shares}
    for role, part in parts.items():
        count = len({own[i] for i, r in enumerate(chosen) if r == role})
        if part is None or count < FEWEST:
            raise DataError(
                f"Of {len(set(own))} different samples {count} would be {role}; each role needs {FEWEST}.",
                "Pass more data, better 256 samples.",
            )
    repeated = len(own) - len(set(own))
    notes = (f"{repeated:,} of {len(own):,} samples repeat another; equal samples share a role.",) if repeated else ()
    return Roles({role: part for role, part in parts.items() if part is not None}, notes)


def named(sources: Mapping[Role, Samples | None]) -> Roles:
    """Sources that were named apart, by role; what an earlier role holds too leaves the later one, and it is said.

    Args:
        sources: samples of each role.

    Raises:
        DataError: where a role is left with fewer than two samples.
    """
    seen: set[bytes] = set()
    kept: dict[Role, Samples] = {}
    notes = []
    for role in ORDER:
        source = sources.get(role)
        if source is None:
            continue
        own = hashes(source)
        rows = [i for i, value in enumerate(own) if value not in seen]
        part = source if len(rows) == len(own) else _rows(source, rows)
        if part is None or len(part) < FEWEST:
            raise DataError(
                f"All but {len(rows)} of the {role} samples play an earlier role too.", "Pass other data for it."
            )
        if len(rows) < len(own):
            notes.append(f"{len(own) - len(rows):,} {role} samples play an earlier role too, and were left out.")
        seen.update(own)
        kept[role] = part
    return Roles(kept, tuple(notes))


def joined(first: Roles, second: Mapping[Role, Samples | None]) -> Roles:
    """Roles of one source, some of them replaced by sources of their own (`--train-data`, `--aux`).

    The samples that a replaced role would have had stay unused: they may be the private ones' kin.

    Raises:
        DataError: as `named`.
    """
    found = named({**first.samples, **{role: part for role, part in second.items() if part is not None}})
    return Roles(found.samples, (*first.notes, *found.notes))


def _position(value: bytes, seed: int) -> float:
    """Where a sample stands in [0, 1): uniform over the hash and the seed."""
    digest = hashlib.sha256(value + seed.to_bytes(16, "little", signed=True)).digest()
    return int.from_bytes(digest[:8], "little") / 2**64


def _role(position: float, shares: Mapping[Role, float]) -> Role:
    end = 0.0
    ordered = [role for role in ORDER if role in shares]
    for role in ordered:
        end += shares[role]
        if position < end:
            return role
    return ordered[-1]


def _rows(samples: Samples, rows: list[int]) -> Samples | None:
    import torch

    return samples.take(torch.tensor(rows)) if rows else None
