"""`plan.json`: what the files beside it are, how to call them and what is sent between them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from advisor.defenses import defense_from_json, defense_to_json
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.exporting.manifest_entries import Attacked, Check, Crossing, FileEntry, Freshness, Noise, PartEntry
from advisor.files import sha256
from advisor.loading.content import read_content
from advisor.loading.onnx_checks import check_onnx
from advisor.support.documents import read_json
from advisor.support.schemas import Provenance, check_version, first_problem, plain

PLAN_FILE, CODEC_FILE, EDGE_FILE = "plan.json", "wire.py", "edge.py"
ASIDE = ".split-earlier"
"""Where an earlier export waits until a new one is complete."""

PLAN_SCHEMA = "2.0"
"""Of `plan.json`: 2 has the edge's noise as an input; the halves of 1 drew it themselves."""

WRITE = "Write it with `advisor split`."


AnyDefense = Annotated[Any, BeforeValidator(defense_from_json), PlainSerializer(defense_to_json)]


@dataclass(frozen=True, eq=False)
class Exported:
    """A plan as files.

    Attributes:
        format: "pt2" (torch.export) or "onnx".
        model: path, name and SHA-256 of the model file; `why` where there is none.
        cuts: names of the cuts.
        defense: what is inside the parts.
        arguments: nesting of (args, kwargs) that the first part takes, as in `InputSpec`; None: flat tensors in order.
        parts, crossings: in the order in which they run.
        wire: the codec: file, version, byte order, how a quantised tensor is restored.
        batch: the only batch size the parts take; None for any.
        files: everything beside `plan.json`.
        predicted, verified: what the plan was predicted to cost and leak, what an attack found.
        check: what the comparison with the model found.
        notes: what a user of the files must know.
        versions: of what made them.
        noise: what the first part draws from, or None.
        freshness: whether its noise is as promised; None where there is none.
        attacked: what was found by an attack on what the written edge sends; None in schema 1.
    """

    format: Literal["pt2", "onnx"]
    model: Provenance
    cuts: tuple[str, ...]
    defense: AnyDefense
    arguments: Any
    parts: tuple[PartEntry, ...]
    crossings: tuple[Crossing, ...]
    wire: dict[str, Any]
    batch: int | None
    files: dict[str, FileEntry]
    predicted: dict[str, Estimate]
    verified: dict[str, Estimate]
    check: Check
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    noise: Noise | None = None
    freshness: Freshness | None = None
    attacked: Attacked | None = None
    schema_version: str = PLAN_SCHEMA
    kind: Literal["exported plan"] = "exported plan"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return plain(_EXPORTED, self)

    def text(self) -> str:
        """The content of `plan.json`."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, payload: Any) -> Exported:
        """Validate plain JSON values.

        Raises:
            AdvisorError: when they are no plan file, or of a newer major version.
        """
        check_version(payload, "plan file", PLAN_SCHEMA)
        try:
            if payload.get("kind") != "exported plan":
                raise KeyError("kind")
            return _EXPORTED.validate_python(payload)
        except (ValidationError, RecursionError, KeyError, TypeError) as error:
            is_found = isinstance(error, ValidationError | RecursionError)
            problem = first_problem(error) if is_found else f"no {error.args[0]}"  # type: ignore[arg-type]
            raise AdvisorError(f"This is not a plan file: {problem}.", WRITE) from None


_EXPORTED = TypeAdapter(Exported)


def load_export(folder: str | Path) -> Exported:
    """Read `plan.json` of a folder and make sure that every file beside it is the one it names.

    Nothing of the folder is run or imported. Matching hashes say that the files belong together, not who wrote them.

    Raises:
        AdvisorError: it is missing or damaged, names what is no file in the folder itself, a file was changed since, or
            an ONNX half uses an operator that is not of the standard, or weights from elsewhere.
    """
    folder = Path(folder)
    try:
        return _loaded(folder)
    except AdvisorError as error:
        if not (folder / ASIDE).is_dir():
            raise
        waits = f"A split was killed here: the next one into {folder} brings the export in {ASIDE} back, or finishes."
        raise AdvisorError(error.problem, waits) from None


def _loaded(folder: Path) -> Exported:
    if (folder / PLAN_FILE).is_symlink():
        raise AdvisorError(f"{folder / PLAN_FILE} is a link to elsewhere.", WRITE)
    found = Exported.from_json(read_json(folder / PLAN_FILE))
    for name in (*found.files, *(part.file for part in found.parts), *_codecs(found)):
        if name not in found.files or not is_beside(folder, name):
            raise AdvisorError(f"{folder / PLAN_FILE} names {name[:80]!r}, which is no file beside it.", WRITE)
    for name, entry in found.files.items():
        if sha256(folder / name) != entry.sha256:
            raise AdvisorError(f"{folder / name} is not the file of its plan.json.", WRITE)
    for part in found.parts if found.format == "onnx" else ():
        check_weights(part.file, check_onnx(read_content(folder / part.file)), folder)
    return found


def check_weights(file: str, beside: Sequence[str], folder: Path) -> None:
    """Refuse an ONNX half that takes weights from another file than its own.

    Raises:
        AdvisorError: naming it.
    """
    for name in beside:
        if name != f"{file}.data":
            raise AdvisorError(f"{folder / file} takes weights from {name[:80]!r}, not from its own file.", WRITE)


def _codecs(found: Exported) -> list[str]:
    codec = found.wire.get("codec")
    return [] if codec is None else [str(codec)]


def is_beside(folder: Path, name: str) -> bool:
    """Whether a name is of a plain file in the folder: no path, no link to elsewhere."""
    plain = name.isprintable() and not set(name) & set("/\\:") and name not in ("", ".", "..")
    return plain and (folder / name).is_file() and not (folder / name).is_symlink()
