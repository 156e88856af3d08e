"""The one exception family: each error says what happened, what to do next, and which exit code the CLI gives."""

from __future__ import annotations

from advisor.support.safe_text import one_line


def first_line(error: BaseException, most: int = 160) -> str:
    """The first line of what an error says, at most so many characters; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:most]


class AdvisorError(Exception):
    """Bad input, said in one line with the next step (exit code 2).

    Args:
        problem: what is wrong, in one sentence.
        next_step: what the user can do about it; may be empty.
    """

    exit_code = 2

    def __init__(self, problem: str, next_step: str = "") -> None:
        self.problem = one_line(problem)  # it may quote what a stranger wrote
        self.next_step = one_line(next_step)
        super().__init__(f"{self.problem} {self.next_step}".strip())


class TraceError(AdvisorError):
    """The model could not be traced; the message names the line of the user's code where the tracer stopped."""


class CutError(AdvisorError):
    """No such cut, or a name that several cuts share."""


class DataError(AdvisorError):
    """Samples that the model or an estimator cannot use."""


class BudgetError(AdvisorError):
    """No plan meets the budgets (exit code 3)."""

    exit_code = 3


class NotMeasurableError(AdvisorError):
    """An estimator cannot measure at this cut; the message becomes the NaN's reason."""


class UnsafeFileError(AdvisorError):
    """A model file that would run code when loaded, and was not trusted (exit code 4)."""

    exit_code = 4


class GateError(AdvisorError):
    """A release gate failed (exit code 5)."""

    exit_code = 5


class InterruptedRunError(AdvisorError):
    """The user interrupted before there was anything to recommend (exit code 130).

    Attributes:
        profile: what was measured of the cuts until then, a `Profile`, or None.
    """

    exit_code = 130

    def __init__(self, stage: str, profile: object = None) -> None:
        super().__init__(f"Interrupted during {stage}.", "Run the same command again.")
        self.stage = stage
        self.profile = profile
