"""Request: what is wanted of a recommendation, validated and recorded as data. Nothing here needs torch."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from advisor.errors import AdvisorError
from advisor.request_parts import (
    IN_PYTHON,
    OBJECTS,
    SOURCES,
    DataPart,
    MachinePart,
    ModelPart,
    OutputPart,
    SearchPart,
    TargetPart,
)
from advisor.requirements import BUILT_IN, REQUIREMENTS, Budgets, own
from advisor.support.safe_text import shell_words

AnyBudgets = Annotated[Any, BeforeValidator(Budgets.from_json), PlainSerializer(Budgets.to_json)]


@dataclass(frozen=True, config=OBJECTS)
class Request:
    """What is wanted of a recommendation. Keywords, options and `advisor.toml` are facades of it; `of` builds it.

    Attributes:
        model, data, target, search, machine, output: as their types say.
        requirements: what a plan must meet.
    """

    model: ModelPart
    data: DataPart = DataPart()
    target: TargetPart = TargetPart()
    requirements: AnyBudgets = Budgets()
    search: SearchPart = SearchPart()
    machine: MachinePart = MachinePart()
    output: OutputPart = OutputPart()

    @classmethod
    def of(cls, **options: Any) -> Request:
        """The request of these keywords; a requirement is a keyword by its name, or an entry of `requirements`.

        Raises:
            AdvisorError: on an unknown keyword or a value that is none, in one line.
        """
        asked = {own(name): limit for name, limit in dict(options.pop("requirements", None) or {}).items()}
        named = {name: options.pop(name) for name in REQUIREMENTS if name in options}
        asked |= {name: value for name, value in named.items() if value is not None}
        parts = {name: {key: options.pop(key) for key in keys if key in options} for name, keys in FIELDS.items()}
        if options:
            unknown = next(iter(options))
            known = [*REQUIREMENTS, *(key for keys in FIELDS.values() for key in keys)]
            near = difflib.get_close_matches(unknown, known, 1)
            hint = f"Did you mean {near[0]}?" if near else "See the documentation of recommend."
            raise AdvisorError(f"There is no option {unknown!r}.", hint)
        budgets = Budgets(**asked)
        return _checked(lambda: cls(requirements=budgets, **{name: _PARTS[name](**own) for name, own in parts.items()}))

    def changed(self, **options: Any) -> Request:
        """This request with other values of these keywords."""
        return Request.of(**(self.options() | {"requirements": dict(self.requirements.limits)} | options))

    def options(self) -> dict[str, Any]:
        """Every field of the parts by keyword, requirements apart."""
        return {key: getattr(getattr(self, part), key) for part, keys in FIELDS.items() for key in keys}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        payload: dict[str, Any] = _REQUEST.dump_python(self, mode="json")
        return payload

    @classmethod
    def from_json(cls, payload: Any) -> Request:
        """Validate plain JSON values.

        Raises:
            AdvisorError: when they are no request.
        """
        found = _checked(lambda: _REQUEST.validate_python(payload))
        named = {
            key: found.options()[key]
            for key in ("model", *SOURCES, "profile", "storage", "artifacts", "thresholds", "out")
        }
        wrong = [key for key, value in named.items() if not isinstance(value, str | dict | None)]
        if wrong or not isinstance(named["model"], str):
            raise AdvisorError(f"This is no request: its {wrong[0] if wrong else 'model'} is no name.")
        return found

    def command(self, trusted: bool = False) -> str:
        """The command line that asks for the same; "" where it names something that was given in Python."""
        plain = self.to_json()
        theirs = any(row.name not in BUILT_IN for row, _ in self.requirements)
        if theirs or IN_PYTHON in _leaves(plain) or plain["search"]["thresholds"] is not None:
            return ""
        source = str(plain["model"]["model"])
        words, last = ["advisor", "recommend"], ["--", source] if source.startswith("-") else []
        words += [] if last else [source]
        for part in ("model", "data", "target", "requirements", "search", "machine", "output"):
            for key in FIELDS.get(part, ()):
                if key != "model":
                    words += _option(key, plain[part][key], key == "seed" or plain[part][key] != _DEFAULTS.get(key))
            if part == "requirements":
                words += [word for row, limit in self.requirements for word in (row.option, row.typed(limit))]
        return shell_words([*words, *(["--trust"] if trusted else []), *last])


_PARTS: dict[str, Any] = {
    "model": ModelPart, "data": DataPart, "target": TargetPart, "search": SearchPart, "machine": MachinePart,
    "output": OutputPart,
}  # fmt: skip
FIELDS: Mapping[str, tuple[str, ...]] = {
    name: tuple(field.name for field in dataclasses.fields(kind)) for name, kind in _PARTS.items()
}
"""Part -> its keywords."""
_DEFAULTS = {f.name: f.default for kind in _PARTS.values() for f in dataclasses.fields(kind)}
_REQUEST = TypeAdapter(Request)


def _checked(make: Callable[[], Request]) -> Request:
    try:
        return make()
    except ValidationError as error:
        detail = error.errors()[0]
        name = str(detail["loc"][-1]) if detail["loc"] else "request"
        raise AdvisorError(f"{name[:60]}: {detail['msg'][:200]}.", "See `advisor recommend --help`.") from None


def _option(key: str, value: Any, shown: bool) -> list[str]:
    option = "--" + key.replace("_", "-")
    if not shown or value is None or value is False:
        return []
    if value is True:
        return [option]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _leaves(value: Any) -> Iterator[Any]:
    for inner in value.values() if isinstance(value, dict) else [value]:
        yield from _leaves(inner) if isinstance(inner, dict) else [inner]
