"""An exported folder that may be a stranger's: what it says is validated, what it holds is checked, then loaded."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError, first_line
from advisor.exporting.manifest import PLAN_FILE, WRITE, Exported, check_weights, is_beside
from advisor.files import read_bytes
from advisor.loading.archives import inspect_archive
from advisor.loading.content import Content, short
from advisor.loading.exported_programs.pt2 import load_program
from advisor.loading.onnx_checks import check_onnx
from advisor.runtime.edge import Edge, Half, OwnFolder, program, session
from advisor.support.documents import read_json


class CheckedFolder(OwnFolder):
    """An export of which only the files that are used need be there.

    Each is read once: the bytes that were held against the plan's hash and checked are those that are loaded.

    Raises:
        AdvisorError: when its plan is missing, damaged or of a newer version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.place = Path(folder)
        if (self.place / PLAN_FILE).is_symlink():
            raise AdvisorError(f"{self.place / PLAN_FILE} is a link to elsewhere.", WRITE)
        self.told = Exported.from_json(read_json(self.place / PLAN_FILE))
        self.plan: dict[str, Any] = self.told.to_json()
        chain = [(c.sender, c.receiver) for c in self.told.crossings]
        names = [part.name for part in self.told.parts]
        if chain != list(itertools.pairwise(names)) or not 2 <= len(names) <= 3:
            raise AdvisorError(f"The parts of {self.place / PLAN_FILE} do not follow each other.", WRITE)

    def part(self, name: str) -> dict[str, Any]:
        """The row of a half."""
        return next(part for part in self.plan["parts"] if part["name"] == name)

    def half(self, part: dict[str, Any]) -> Half:
        """A half in its runtime.

        Raises:
            AdvisorError: when its file is missing, another one, or would run code.
        """
        content = self._read(part["file"])
        if self.told.format == "pt2":
            return _guarded(program(load_program(inspect_archive(content), False).module()), part["name"])
        more = check_onnx(content)
        check_weights(part["file"], more, self.place)
        made = session(self.plan, part, _session(content, [self._read(name) for name in more]))
        return _guarded(made, part["name"])

    def _read(self, name: str) -> Content:
        entry = self.told.files.get(name)
        if entry is None or not is_beside(self.place, name):
            raise AdvisorError(f"{self.place / PLAN_FILE} names {name[:80]!r}, which is no file beside it.", WRITE)
        content = Content(self.place / name, read_bytes(self.place / name, max(entry.bytes, 0)))
        if content.sha256 != entry.sha256:
            raise AdvisorError(f"{content.path} is not the file of its plan.json.", WRITE)
        return content


class CheckedEdge(Edge):
    """`Edge` of a folder that may be a stranger's.

    Raises:
        AdvisorError: when the folder is no export, a file of it was changed, or would run code.
    """

    def _opened(self, folder: str | os.PathLike[str]) -> OwnFolder:
        return CheckedFolder(folder)


def _guarded(half: Half, name: str) -> Half:
    """The half, whose runtime's own errors become one line: on numbers or arguments that its file does not take."""

    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return half(*args, **kwargs)
        except Exception as error:
            raise AdvisorError(f"The {name} half cannot run on this: {first_line(error)}.", WRITE) from error

    return run


def _session(content: Content, weights: list[Content]) -> Any:
    """ONNX Runtime on checked bytes; weights beside a file are found by its path, so both get one of their own."""
    try:
        import onnxruntime
    except ImportError:
        raise AdvisorError("ONNX halves need ONNX Runtime.", "Install it: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="advisor-") as own:
        for file in [content, *weights] if weights else []:
            (Path(own) / file.path.name).write_bytes(file.data)
        source = str(Path(own) / content.path.name) if weights else content.data
        try:
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise AdvisorError(f"ONNX Runtime cannot load {content.path}: {short(error, 200)}.", WRITE) from error
