"""Vega-Lite for the page: its library as one script, and still pictures of the same specs for print and no script."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.files import write_atomically
from advisor.units import show_size

VERSION = "6.4"
"""Of Vega-Lite."""
_NAMED = re.compile(r"vega-[\w.+-]+-([0-9a-f]{64})\.js")
_ENDS = re.compile(r"<(?=/script|!--|script)", re.IGNORECASE)
"""What would end a script, or begin a comment, inside one."""
ADDRESSES = 2**37
"""Bytes of addresses: V8 reserves 64 to 90 GiB of them, whatever it then uses."""
_IDS = re.compile(r"(?<=[\"#])clip\d+")


def out_of_reach() -> str:
    """Why no chart can be drawn, "" where it can: where address space is short, the engine would end the process."""
    if not find_spec("resource"):
        return ""  # Windows, which knows no such limit
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY or most >= ADDRESSES:
        return ""
    short = f"{show_size(most)} of {show_size(ADDRESSES)}"
    return f"No chart: its engine reserves more addresses than ulimit -v grants ({short})."


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and vega-embed as one script that sets `vegaEmbed`; bundled once, then read from the cache."""
    folder = cache_folder()
    for path in sorted(folder.glob(f"vega-{_release()}-*.js")) if folder else ():
        named, text = _NAMED.fullmatch(path.name), path.read_bytes()
        if named and hashlib.sha256(text).hexdigest() == named[1]:
            return text.decode()
    import vl_convert

    bundled = inert(str(vl_convert.javascript_bundle(vl_version=VERSION)))  # type: ignore[call-arg]
    if folder:
        digest = hashlib.sha256(bundled.encode()).hexdigest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / f"vega-{_release()}-{digest}.js", bundled)
        except (OSError, AdvisorError):
            return bundled  # it is bundled again next time: nothing but time is lost
    return bundled


def cache_folder() -> Path | None:
    """Where this user's caches are; None where there is no such place."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / "partition-advisor"
    try:
        return Path.home() / ".cache" / "partition-advisor"
    except RuntimeError:
        return None


def _release() -> str:
    return f"{version('vl-convert-python')}-{VERSION}"


def inert(script: str) -> str:
    """A script that the page's parser reads to its end: what would end it stands in strings only, and is escaped."""
    return _ENDS.sub(r"\\x3c", script).replace("\r\n", "\n")


def still(spec: Mapping[str, Any], width: int, name: str) -> str:
    """A spec as one `<svg>` that scales with the page, its ids led by `name`; nothing is fetched for it."""
    fixed = {**spec, "width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    svg = _drawn(json.dumps(fixed, sort_keys=True))
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height|xmlns(?::\w+)?|version)="[^"]*"', "", head)
    ids = {old: f"{name}-{k}" for k, old in enumerate(dict.fromkeys(_IDS.findall(rest)))}  # counted per process
    return f'{head} aria-hidden="true">{_shorter(_IDS.sub(lambda match: ids[match[0]], rest))}'


@functools.lru_cache(maxsize=128)
def _drawn(spec: str) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec, vl_version=VERSION, allowed_base_urls=[]))


def _shorter(svg: str) -> str:
    """Two decimals of a pixel are enough."""
    return re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), svg)


def script_hash(script: str) -> str:
    """A script's source expression in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
