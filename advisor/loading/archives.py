"""Zip archives looked over before torch opens them: no bombs, no strange names, one reading only.

Two zip readers may read one crafted file differently (Python's and the one inside torch). The checks below leave a file
only one reading: no duplicates, no overlaps, nothing after the end record, one top folder. Torch's reader finds members
without regard to case: names that differ by case alone are duplicates, and each format lists the names it takes.
"""

from __future__ import annotations

import functools
import io
import json
import stat
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from advisor.errors import AdvisorError
from advisor.loading.content import Content, read_content, short

MAX_MEMBERS = 200_000
MAX_NAME = 1024
MAX_UNPACKED = 512 * 2**20  # bytes that compressed members may unpack to; weights are never compressed by torch
MAX_TEXT = 256 * 2**20  # bytes of one member that is parsed in Python
BROKEN = "Download or save the model again."


@dataclass(frozen=True)
class Archive:
    """A zip file that passed `inspect_archive`.

    Attributes:
        content: the file's bytes.
        root: the one top folder of all members, or "" where they share none.
        sizes: unpacked bytes of each member, by its name below the root.
    """

    content: Content
    root: str
    sizes: dict[str, int]

    @property
    def path(self) -> Path:
        """Where the archive was read from, for messages."""
        return self.content.path

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    def below(self, prefix: str) -> list[str]:
        """Names of the members whose name starts so, in the file's order."""
        return [name for name in self.sizes if name.startswith(prefix)]

    @functools.cached_property
    def _file(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.content.stream())

    def read(self, name: str, limit: int = MAX_TEXT) -> bytes:
        """One member's bytes, checked against its CRC; one larger than the limit is refused."""
        if self.sizes.get(name, 0) > limit:
            _refuse(self.path, f"member {short(name)!r} declares {self.sizes[name]:,} bytes")
        try:
            return self._file.read(f"{self.root}/{name}" if self.root else name)
        except (KeyError, ValueError, RuntimeError, zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
            raise AdvisorError(
                f"{self.path} is damaged: member {short(name)!r} cannot be read ({short(error)}).", BROKEN
            ) from None

    def json(self, name: str) -> Any:
        """One member as JSON."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError):
            raise AdvisorError(f"{self.path} is damaged: member {short(name)!r} is no JSON.", BROKEN) from None

    def only(self, names: Collection[str], instead: Mapping[str, bytes] | None = None) -> io.BytesIO:
        """A plain archive of these members alone, written anew: torch gets one reading, of what was checked.

        Args:
            names: of the members.
            instead: other bytes for some of them.
        """
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as new:
            for name in names:
                data = instead[name] if instead and name in instead else None
                data = self.read(name, len(self.content.data) + MAX_UNPACKED) if data is None else data
                new.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
        stream.seek(0)
        return stream


def inspect_archive(source: Path | Content) -> Archive:
    """List a zip file's members without unpacking any.

    Args:
        source: the file, or its bytes where they were read already.

    Raises:
        AdvisorError: truncated; too many members; a name that leaves the folder, is doubled or is a link; encrypted;
            overlapping or bomb-like members; anything before the first member or after the end record.
    """
    content = source if isinstance(source, Content) else read_content(source)
    path = content.path
    try:
        with zipfile.ZipFile(content.stream()) as file:
            members, start = file.infolist(), file.start_dir
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError, OverflowError):
        raise AdvisorError(f"{path} is a truncated or damaged archive.", BROKEN) from None
    if not members:
        _refuse(path, "it has no members")
    if len(members) > MAX_MEMBERS:
        _refuse(path, f"it declares {len(members):,} members")
    _check_layout(content, members, start)
    for member in members:
        _check_member(path, member)
    return _rooted(content, [m for m in members if not m.is_dir()])


def _check_layout(content: Content, members: list[zipfile.ZipInfo], start: int) -> None:
    path, end = content.path, 0
    in_order = sorted(members, key=lambda m: m.header_offset)
    if in_order[0].header_offset or not content.data.startswith(b"PK\x03\x04"):
        _refuse(path, "something stands before its first member")
    for member in in_order:
        if member.header_offset < end:
            _refuse(path, f"member {short(member.filename)!r} overlaps another")
        end = member.header_offset + 30 + member.compress_size
    if end > start:
        _refuse(path, "its members run past its directory")
    if content.data[-22:-18] != b"PK\x05\x06":
        _refuse(path, "something stands after its end record")
    unpacked = sum(m.file_size for m in members if m.compress_type != zipfile.ZIP_STORED)
    if unpacked > MAX_UNPACKED:
        _refuse(path, f"its compressed members would unpack to {unpacked:,} bytes")


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    parts = name.rstrip("/").split("/")
    if name != member.filename or len(name) > MAX_NAME or not name.isprintable() or "\\" in name:
        _refuse(path, f"a member has the odd name {name[:60]!r}")
    if name.startswith("/") or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        _refuse(path, f"member {name[:60]!r} leaves the archive's folder")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        _refuse(path, f"member {short(name)!r} is a link or a special file")
    if member.flag_bits & 0x1:
        _refuse(path, f"member {short(name)!r} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse(path, f"member {short(name)!r} uses compression method {member.compress_type}")
    if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
        _refuse(path, f"member {short(name)!r} declares another size than it has")


def _rooted(content: Content, members: list[zipfile.ZipInfo]) -> Archive:
    roots = {m.filename.split("/", 1)[0] for m in members if "/" in m.filename}
    if len(roots) != 1 or any("/" not in m.filename for m in members):
        return Archive(content, "", _unique(content.path, [(m.filename, m.file_size) for m in members]))
    return Archive(
        content, roots.pop(), _unique(content.path, [(m.filename.split("/", 1)[1], m.file_size) for m in members])
    )


def _unique(path: Path, named: list[tuple[str, int]]) -> dict[str, int]:
    seen: set[str] = set()
    for name, _ in named:
        if name.lower() in seen:  # torch's own reader finds members without regard to case
            _refuse(path, f"it holds the member {short(name)!r} twice")
        seen.add(name.lower())
    return dict(named)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise AdvisorError(f"{path} is refused: {reason}.", "It was not written by torch; get the model from its source.")
