"""One option a requirement, made from the table when the command line is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from advisor.commands.support.options import BUDGETS, SEARCH
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS


class TakesRequirements:
    """A command's function whose `**asked` become options: `--max-latency` and every other row of the table.

    The table is read each time that the command line is built, so that a row that was added later has its option.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self.__name__, self.__doc__, self.__module__ = function.__name__, function.__doc__, function.__module__

    def __call__(self, *args: Any, **options: Any) -> None:
        """Run the command."""
        self._function(*args, **options)

    @property
    def __signature__(self) -> Signature:
        own = inspect.signature(self._function, eval_str=True)
        fixed = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        place = next((i for i, p in enumerate(fixed) if _panel(p) == SEARCH), len(fixed))
        return own.replace(parameters=[*fixed[:place], *map(_option, REQUIREMENTS.values()), *fixed[place:]])

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]  # typer asks the object, not its class
        return {name: p.annotation for name, p in self.__signature__.parameters.items()}


def _option(row: Requirement) -> Parameter:
    said = typer.Option(row.option, help=row.help, rich_help_panel=BUDGETS)
    return Parameter(row.name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[str | None, said])


def _panel(parameter: Parameter) -> str:
    return next((info.rich_help_panel for info in getattr(parameter.annotation, "__metadata__", ())), "")
