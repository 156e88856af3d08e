"""Gate: whether an advice still holds, check by check; what `advisor.check` answers. Nothing here needs torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from advisor.errors import GateError
from advisor.estimate import Estimate

Status = Literal["met", "missed", "moved", "not measured"]


@dataclass(frozen=True)
class Checked:
    """One thing that was checked.

    Attributes:
        name: a requirement's name, or "digest", "plan", "model", "data", "evidence".
        label: what people call it.
        asked: what it is held against, in words.
        found: what was found, in words.
        how: whether it was recomputed, measured again, attacked again, or is recorded.
        status: "met"; "missed" where a requirement is not met; "moved" where it is no longer what the advice says;
            "not measured", which never passes.
        failure: one line that says what is wrong; "" where nothing is.
        estimate: the number that was held against the requirement, with its interval, or None.
    """

    name: str
    label: str
    asked: str
    found: str
    how: str = ""
    status: Status = "met"
    failure: str = ""
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Gate:
    """What `advisor.check` found.

    Attributes:
        plan: the plan that was checked, in words.
        digest: of the advice, SHA-256 in hexadecimal.
        checks: everything that was checked, in order.
        notes: what was opened and what was assumed, one sentence each.
    """

    plan: str
    digest: str
    checks: tuple[Checked, ...]
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each check that failed."""
        return tuple(check.failure for check in self.checks if check.status != "met")

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing failed."""
        return bool(self.checks) and not self.failures

    def require(self) -> None:
        """Do nothing where the gate passed.

        Raises:
            GateError: where it did not, in one line; exit code 5.
        """
        if not self.passed:
            raise GateError(
                f"The gate failed, {len(self.failures)} of {len(self.checks)} checks.", " ".join(self.failures)
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a number that could not be measured is null."""
        found: dict[str, Any] = _GATE.dump_python(self, mode="json")
        return {"passed": self.passed, "failures": list(self.failures), **found}


_GATE = TypeAdapter(Gate)
