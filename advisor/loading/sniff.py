"""What a model file is, read from its bytes: a name proves nothing."""

from __future__ import annotations

from typing import Literal

from advisor.errors import AdvisorError
from advisor.loading.content import Content

Kind = Literal["zip", "pickle", "safetensors"]
HEAD = 512
SAFETENSORS_HEADER_LIMIT = 100_000_000  # bytes; the limit of the format's own library

SAVE_AGAIN = "Save it with torch.export.save(torch.export.export(model, (x,)), 'model.pt2') and pass that."
FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF", "an HDF5 file (Keras weights)", SAVE_AGAIN),
    (4, b"TFL3", "a TensorFlow Lite model", SAVE_AGAIN),
    (0, b"GGUF", "a GGUF file", SAVE_AGAIN),
    (0, b"\x93NUMPY", "a NumPy array", "Arrays are data: pass it with --data."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (0, b"7z\xbc\xaf", "a 7z archive", "Unpack it first."),
    (0, b"\xfd7zXZ", "an xz archive", "Unpack it first."),
    (257, b"ustar", "a tar archive", "Unpack it first; a torch checkpoint of before 2018 must be saved again."),
    (0, b"\x7fELF", "a compiled library", "Compiled models cannot be cut; pass the model they came from."),
    (0, b"version https://git-lfs", "a git-lfs pointer, not the model", "Run `git lfs pull` first."),
    (0, b"PK\x05\x06", "an empty zip archive", "Download or save the model again."),
)


def sniff(content: Content) -> Kind:
    """The container a file is: "zip" (any torch archive), "pickle" (legacy torch) or "safetensors".

    Raises:
        AdvisorError: when it is no model this package reads.
    """
    path, head, size = content.path, content.data[:HEAD], len(content.data)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if _is_safetensors(head, size):
        return "safetensors"
    for offset, magic, what, next_step in FOREIGN:
        if head[offset:].startswith(magic):
            raise AdvisorError(f"{path} is {what}.", next_step)
    if _is_onnx(head):
        raise AdvisorError(f"{path} is an ONNX model, which has no weights torch can differentiate.", SAVE_AGAIN)
    if path.suffix == ".py":
        raise AdvisorError(
            f"{path} is code, not a model file.", f"Name what builds the model there: {path}:FUNCTION --trust."
        )
    if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05":
        return "pickle"
    raise AdvisorError(f"{path} is not a model file{_looks(head)}.", "Pass a .pt2, .pt, .pth or .safetensors file.")


def _is_safetensors(head: bytes, size: int) -> bool:
    header = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= header <= min(SAFETENSORS_HEADER_LIMIT, size)


def _is_onnx(head: bytes) -> bool:
    """An ONNX file opens with field 1 (ir_version), a small number, then a further field of ModelProto."""
    fields = (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42)
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 32 and head[2] in fields


def _looks(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return " but a web page (a download that asked to log in?)"
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return " but text"
    return ""
