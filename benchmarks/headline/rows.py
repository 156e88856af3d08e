"""Rows of a CSV file as dataclasses of str, int and float."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")

_MAKE = {"str": str, "int": int, "float": float}


def read(path: Path, kind: type[Row]) -> list[Row]:
    """Rows kept so far; none where there is no file."""
    if not path.exists():
        return []
    types = {field.name: _MAKE[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    with path.open(newline="", encoding="utf-8") as file:
        return [kind(**{k: types[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]


def append(path: Path, rows: Iterable[Any]) -> None:
    """More rows, on disk when this returns; numbers to six digits."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        if fresh:
            writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()})
