"""What an agent may answer. The device may be a stranger's: whatever else it says is refused in one line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from advisor.errors import AdvisorError
from advisor.support.documents import parse_json
from advisor.support.schemas import first_problem

Text = Annotated[str, Field(max_length=500)]
Seconds = Annotated[float, Field(ge=0, le=1e7)]
Clocks = Annotated[tuple[Annotated[float, Field(ge=0, le=1e12)], ...], Field(max_length=4096)]
Interval = tuple[Seconds, Seconds, Seconds]
Count = Annotated[int, Field(ge=0, le=2**53)]


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Probe(_Answer):
    """What is there: see `agent.probe`."""

    python: Text = ""
    machine: Text = ""
    board: Text = ""
    cores: Count | None = None
    memory: Count | None = None
    free: Count | None = None
    torch: Text | None = None
    onnxruntime: Text | None = None
    cuda: Text | None = None
    providers: tuple[Text, ...] = ()
    missing: dict[Text, Text] = {}


class Result(_Answer):
    """How far the agent is, and in the end what it timed: see `agent.run`."""

    state: Literal["loading", "timing", "done", "memory", "failed"]
    why: Text = ""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    rounds: Count = 0
    wall: Seconds = 0.0
    busy: Seconds = 0.0
    times: dict[Text, Interval] = {}
    pieces: Interval | None = None
    started: Clocks = ()
    ended: Clocks = ()
    governor: Text = ""
    runtime: Text = ""
    version: Text = ""
    on: Text = ""
    threads: Count | None = None

    @model_validator(mode="after")
    def _complete(self) -> Result:
        """A result has what is made of it, and intervals lie around their medians."""
        if self.state == "done" and (self.pieces is None or "whole" not in self.times or not self.times["whole"][0]):
            raise ValueError("it is done, but says no times")
        if any(not low <= median <= high for median, low, high in self.times.values()):
            raise ValueError("an interval does not hold its median")
        return self


def probe(text: str, where: object) -> dict[str, Any]:
    """A probe's answer as plain values.

    Raises:
        AdvisorError: when it is none.
    """
    return _read(Probe, text, where)


def result(text: str, where: object) -> dict[str, Any]:
    """The agent's result so far; empty where it has said nothing yet.

    Raises:
        AdvisorError: when it is none.
    """
    return _read(Result, text, where) if text else {}


def _read(kind: type[_Answer], text: str, where: object) -> dict[str, Any]:
    parse_json(text, f"The answer of {where}")  # depth, size and range of what is in it
    try:
        return kind.model_validate_json(text).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise AdvisorError(
            f"The answer of {where} is not one of the agent: {first_problem(error)}.", "Check what runs there."
        ) from None
