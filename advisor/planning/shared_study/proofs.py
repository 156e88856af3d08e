"""What attacks on a plan found, as plain JSON values that other workers read: numbers and words, no reconstruction."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.planning.shared_study.results import Task, strange
from advisor.plans import Evidence


@dataclass(frozen=True)
class Proof:
    """What attacks on a plan found.

    Attributes:
        verified: as of the plan.
        evidence: one entry an attack, without pictures.
        lost: which of them failed, and why.
    """

    verified: dict[str, Estimate]
    evidence: tuple[Evidence, ...]
    lost: str


_PROOF = TypeAdapter(Proof)


def proof_to_json(proof: Proof) -> dict[str, Any]:
    """Plain JSON values."""
    payload: dict[str, Any] = _PROOF.dump_python(proof, mode="json")
    return payload


def as_proof(task: Task, payload: Any) -> Proof:
    """The inverse.

    Raises:
        AdvisorError: on what we could not have written.
    """
    try:
        proof = _PROOF.validate_python(payload)
    except (ValidationError, AdvisorError, ValueError) as error:
        raise strange(task, error) from None
    if any(item.pictures for item in proof.evidence):
        raise strange(task, ValueError("it holds pictures"))
    return proof
