"""Text that a stranger may have written, made safe to show: one line, nothing hidden, nothing secret, not too long."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable

LONGEST = 2000
"""Characters of a message; what is longer loses its middle."""

CUT = "***"
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # controls, bidirectional overrides, private use, surrogates, separators
_PLAIN = re.compile(r"[^ -~]")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,40})(?P<slashes>://|(?<=[A-Za-z0-9+.-]{2}):/)(?P<rest>[^\s'\"<>]+)"
)
"""With one slash too: a path loses the second; `C:/` is a drive."""


def visible(text: str) -> str:
    """Hidden characters as escapes that are seen: terminal sequences and bidirectional overrides are not obeyed."""
    return _PLAIN.sub(lambda found: _escape(found[0]), text)


def one_line(text: object, longest: int = LONGEST) -> str:
    """A message: line breaks become blanks, hidden characters are seen, secrets and what is too long are cut."""
    line = " ".join(shortened(str(text), 4 * longest).splitlines())
    return shortened(visible(without_secrets(line)), longest)


def shortened(text: str, longest: int) -> str:
    """At most so many characters, and how many are left out of the middle."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}… ({len(text) - 2 * half:,} characters left out) …{text[-half:]}"


def without_secrets(text: str) -> str:
    """Every URL in a text without user, password, token and query; the user of an ssh address stays."""
    return _URL.sub(_public, text) if ":/" in text else text


def shell_words(words: Iterable[str]) -> str:
    """A command line that a shell reads as these words, with nothing hidden in it."""
    return " ".join(word if (word := shlex.quote(w)).isprintable() else _dollar_quoted(w) for w in words)


def _public(found: re.Match[str]) -> str:
    scheme, slashes, rest = found["scheme"], found["slashes"], found["rest"]
    place, question, _ = rest.partition("?")
    if "@" not in place and "@" in rest and scheme != "ssh":  # a password may hold a question mark
        place, question = rest, ""
    who, at, where = place.rpartition("@")
    kept = who if scheme == "ssh" and ":" not in who else CUT
    return scheme + slashes + (f"{kept}@" if at else "") + where.partition("#")[0] + (f"?{CUT}" if question else "")


def _dollar_quoted(word: str) -> str:
    """Bash's and POSIX 2024's $'…': bytes that are not printable as octal escapes."""
    plain = "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in _bytes(word))
    return f"$'{plain}'"


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape") if _encodable(word) else word.encode("utf-8", "replace")


def _encodable(word: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" and not "\udc80" <= character <= "\udcff" for character in word)


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
