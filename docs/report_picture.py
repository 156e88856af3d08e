"""Makes the picture of a report for the README: the first screen of `out/demo/report.html`, a PNG of less than 150 kB.

make demo && python docs/report_picture.py out/demo/report.html docs/images/report.png
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

MOST_BYTES = 150_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def screenshot(page: Path, width: int, height: int, folder: Path) -> Path:
    """The first screen of a page, in light colours, by a browser of this machine."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"This needs a browser: one of {', '.join(BROWSERS)}.")
    target = folder / "screen.png"
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--virtual-time-budget=5000",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}", f"--screenshot={target}",
            page.resolve().as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return target


def shrunk(source: Path, target: Path) -> int:
    """Fewer colours until it is small enough; returns its bytes."""
    picture = Image.open(source).convert("RGB")
    for colours in (256, 128, 64, 32, 16):
        picture.quantize(colours).save(target, optimize=True)
        if (size := target.stat().st_size) < MOST_BYTES:
            return size
    sys.exit(f"{target} has {size:,} bytes; take a smaller --width or --height.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=800)
    options = parser.parse_args(arguments)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        size = shrunk(screenshot(options.report, options.width, options.height, Path(folder)), options.picture)
    print(f"{options.picture}: {size:,} bytes")


if __name__ == "__main__":
    main()
