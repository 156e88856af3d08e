"""A drawn scene beside its thumbnail: what "a 4×4 thumbnail" looks like, without a picture of anybody's."""

from __future__ import annotations

import numpy as np

SIDE = 32


def scene() -> np.ndarray:
    """`[32, 32, 3]` in [0, 1]: a face in front of a hill and a sky."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    image = np.stack([0.55 + 0.25 * y, 0.72 + 0.12 * y, 0.92 - 0.05 * y], axis=-1)
    for inside, colour in (
        (y > 0.72 + 0.1 * np.sin(5 * x), (0.35, 0.55, 0.3)),
        (((x - 0.5) / 0.42) ** 2 + ((y - 1.02) / 0.32) ** 2 < 1, (0.66, 0.2, 0.24)),
        (((x - 0.5) / 0.29) ** 2 + ((y - 0.4) / 0.36) ** 2 < 1, (0.27, 0.17, 0.1)),
        (((x - 0.5) / 0.23) ** 2 + ((y - 0.46) / 0.3) ** 2 < 1, (0.9, 0.72, 0.58)),
        ((abs(abs(x - 0.5) - 0.09) < 0.033) & (abs(y - 0.42) < 0.03), (0.1, 0.1, 0.12)),
        ((abs(x - 0.5) < 0.09) & (abs(y - 0.61) < 0.022), (0.7, 0.25, 0.25)),
    ):
        image[inside] = colour
    return image


def thumbnail_svg(side: int) -> str:
    """The scene in `side`×`side` blocks as one `<svg>`, an illustration that no sample went into."""
    step = SIDE // side
    blocks = scene().reshape(side, step, side, step, 3).mean((1, 3))
    paths: dict[str, list[str]] = {}
    for row, line in enumerate(blocks):
        for column, colour in enumerate(line):
            name = "#" + "".join(f"{round(15 * part) * 17:02x}"
                                 for part in colour)  # fmt: skip
            paths.setdefault(name, []).append(f"M{column} {row}h1v1h-1z")
    drawn = "".join(f'<path fill="{name}" d="{"".join(parts)}"/>' for name, parts in paths.items())
    return (
        f'<svg viewBox="0 0 {side} {side}" width="120" height="120" shape-rendering="crispEdges" role="img" '
        f'aria-label="A drawn scene as a {side}×{side} thumbnail">{drawn}</svg>'
    )
