"""Roles: who has which sample. No sample plays two: equal samples, found by their bytes, share a role.

Training (for defenses that are fitted), validation (accuracy, early stops), the attacker's own, the private ones that
are attacked, and a test part for the final accuracy. One source of data is divided by a hash of each sample's bytes and
the seed, so that a sample keeps its role whatever the order of the others, and, unless they are few, their number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from advisor.data.samples import Samples
from advisor.data.tensors import tensors_of
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["training", "validation", "attacker", "private", "test"]
SHARES: Mapping[Role, float] = {"validation": 0.25, "attacker": 0.50, "private": 0.25}
"""With one source of data."""
SHARES_TRAINED: Mapping[Role, float] = {"training": 0.40, "validation": 0.15, "attacker": 0.30, "private": 0.15}
"""With one source of data and a defense that is trained."""
SIDES: Mapping[Role, float] = {"attacker": 0.75, "private": 0.25}
"""Where one attack or study is all there is; the private samples are those of `SHARES`."""
ORDER: tuple[Role, ...] = ("training", "validation", "attacker", "private", "test")
"""A sample that two sources hold keeps the earlier role."""
FEWEST = 2
"""Different samples that a role needs."""


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

    def __str__(self) -> str:
        """Who has how many."""
        return ", ".join(f"{role} {len(found):,}" for role, found in self.samples.items())

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of the samples and labels of each role."""
        return {role: found.fingerprint for role, found in self.samples.items()}

    def to_json(self) -> dict[str, dict[str, int | str]]:
        """Size, fingerprint and source of each role, to be recorded; no sample."""
        return {
            role: {"samples": len(found), "fingerprint": found.fingerprint, "description": found.description}
            for role, found in self.samples.items()
        }


def shares(trained: bool, apart: Collection[Role] = ()) -> Mapping[Role, float]:
    """How one source of data is divided.

    Args:
        trained: whether a defense is to be fitted.
        apart: roles that have a source of their own. The share that the attacker would have is then the test part.
    """
    wanted = SHARES_TRAINED if trained and "training" not in apart else SHARES
    return {"test" if role == "attacker" and role in apart else role: share for role, share in wanted.items()}


def hashes(samples: Samples | Sequence[Tensor]) -> list[bytes]:
    """SHA-256 of each sample's bytes, shapes and dtypes, labels apart: equal samples have equal ones."""
    import torch

    from advisor.support.threads import one_thread

    given: Any = tensors_of(samples.x) if isinstance(samples, Samples) else samples
    tensors = [t.detach().cpu().contiguous() for t in given]
    kind = ";".join(f"{tuple(t.shape[1:])} {t.dtype}" for t in tensors).encode()
    rows = [t.reshape(len(t), -1) for t in tensors]

    def of(index: int) -> bytes:
        own = (row[index] + 0 if row.is_floating_point() else row[index] for row in rows)  # -0 equals 0
        return hashlib.sha256(kind + b"".join(row.view(torch.uint8).numpy().tobytes() for row in own)).digest()

    with one_thread():  # several would wait for each other at every sample
        return [of(index) for index in range(len(tensors[0]))]


def drawn(samples: Samples, seed: int = 0, shares: Mapping[Role, float] = SHARES) -> Roles:
    """One source of data divided by the hash of each sample's bytes and the seed.

    Args:
        samples: fitted to the model.
        seed: same seed, same roles.
        shares: of each role; they sum to one.

    Raises:
        DataError: where there are fewer than two different samples a role.
    """
    own = hashes(samples)
    chosen = _divided(own, seed, shares, FEWEST)
    parts = {role: _rows(samples, [i for i, value in enumerate(own) if chosen[value] == role]) for role in shares}
    repeated = len(own) - len(chosen)
    notes = (f"{repeated:,} of {len(own):,} samples repeat another; equal samples share a role.",) if repeated else ()
    return Roles({role: parts[role] for role in ORDER if role in parts}, notes)


def sides(inputs: Sequence[Tensor], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Positions of what an attacker learns from and of what is attacked, where one source has both.

    Three quarters and one, by the rule of `drawn`: the private samples are those that a recommendation attacks.

    Args:
        inputs: flat tensors `[N, ...]`.
        seed: same seed, same sides.

    Raises:
        DataError: where all samples are equal.
    """
    import torch

    own = hashes(inputs)
    chosen = _divided(own, seed, SIDES, 1)
    mine = torch.tensor([chosen[value] == "attacker" for value in own])
    return mine.nonzero()[:, 0], (~mine).nonzero()[:, 0]


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
        if len(part) < FEWEST:
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

    Raises:
        DataError: as `named`.
    """
    own = {role: part for role, part in second.items() if part is not None}
    if not own:
        return first
    found = named({**first.samples, **own})
    return Roles(found.samples, (*first.notes, *found.notes))


def _divided(own: Sequence[bytes], seed: int, shares: Mapping[Role, float], fewest: int) -> dict[bytes, Role]:
    """The role of each different sample: by its position; where that leaves a role too few, by rank of the positions.

    Raises:
        DataError: where there are too few different samples for that.
    """
    position = {value: _position(value, seed) for value in set(own)}
    if len(position) < fewest * len(shares):
        raise _too_few(len(own), len(position), tuple(shares), fewest)
    chosen = {value: _role(place, shares) for value, place in position.items()}
    counts = Counter(chosen.values())
    if all(counts[role] >= fewest for role in shares):
        return chosen
    ranked = iter(sorted(position, key=lambda value: (position[value], value)))
    sizes = _sizes(len(position), shares, fewest)
    return {next(ranked): role for role, size in sizes.items() for _ in range(size)}


def _sizes(count: int, shares: Mapping[Role, float], fewest: int) -> dict[Role, int]:
    """How many of `count` samples each role gets: its share, but no fewer than `fewest`."""
    sizes = dict.fromkeys(shares, fewest)
    for _ in range(count - sum(sizes.values())):
        sizes[max(shares, key=lambda role: shares[role] * count - sizes[role])] += 1
    return sizes


def _too_few(count: int, different: int, roles: Sequence[Role], fewest: int) -> DataError:
    equal = different == 1 < count
    said = f"All {count:,} samples are equal" if equal else f"The data has only {different} different sample(s)"
    named = f"{', '.join(roles[:-1])} and {roles[-1]}"
    return DataError(f"{said}; {named} need {fewest * len(roles)}, {fewest} each.", "Pass more, better 256.")


def _position(value: bytes, seed: int) -> float:
    """Where a sample stands in [0, 1): uniform over the hash and the seed."""
    digest = hashlib.sha256(value + seed.to_bytes(16, "little", signed=True)).digest()
    return int.from_bytes(digest[:8], "little") / 2**64


def _role(position: float, shares: Mapping[Role, float]) -> Role:
    end = 0.0
    for role, share in shares.items():
        end += share
        if position < end:
            return role
    return role


def _rows(samples: Samples, rows: Sequence[int]) -> Samples:
    import torch

    return samples.take(torch.tensor(rows, dtype=torch.long))
