"""What a chain is drawn of: operators on maps and on tokens, each with how often it is drawn."""

from __future__ import annotations

import math
from typing import Any

from advisor.profilers.calibration.drawn_chain import Draw, Drawing, near, width

# ---- anywhere ------------------------------------------------------------------------------------------------------


def elementwise(name: str, *options: Any) -> Draw:
    """An operator of one value that keeps its shape."""
    return lambda d: d.same(name, options=options)


def _add(d: Drawing) -> None:
    alike = d.earlier(lambda shape: shape == d.shape)
    if alike:
        d.add("add.Tensor", d.shape, sources=(d.now, d.rng.choice(alike)))


EVERYWHERE: list[tuple[Draw, float]] = [
    (elementwise("relu.default"), 1.4), (elementwise("gelu.default"), 0.7), (elementwise("silu.default"), 0.7),
    (elementwise("sigmoid.default"), 0.4), (_add, 1.5),
]  # fmt: skip


# ---- on maps -------------------------------------------------------------------------------------------------------


def _convolve(d: Drawing, groups: str = "one", window: int = 0, out: int = 0) -> None:
    rng, (channels, side, _) = d.rng, d.shape
    count, window = 1, window or rng.choice((1, 1, 1, 3, 3, 3, 5, 7))
    drawn = width(rng, max(8, channels / 4), min(2048, channels * 4))
    out = out or d.widths.setdefault(d.place, drawn)
    if groups == "each":
        count, out, window = channels, channels, rng.choice((3, 3, 5, 7))
    elif groups == "some":
        count = rng.choice([n for n in (2, 4, 8, 16, 32) if channels % n == 0] or [1])
        out, window = max(1, out // count) * count, rng.choice((1, 3, 3))
    window = window if window <= side or groups != "one" else 1
    if window > side:
        return
    stride, padding = 2 if rng.random() < 0.2 and side > 7 and not d.repeated else 1, window // 2
    after, biased = (side + 2 * padding - window) // stride + 1, rng.random() < 0.4
    held = ((out, channels // count, window, window), *(((out,),) if biased else ()))
    d.add("conv2d.default", (out, after, after), held, ([stride] * 2, [padding] * 2, [1, 1], count))


def _norm(d: Drawing) -> None:
    d.same("batch_norm.default", ((d.shape[0],),) * 4, (False, 0.1, 1e-5, True))


def _cat(d: Drawing) -> None:
    alike = d.earlier(lambda shape: len(shape) == 3 and shape[1:] == d.shape[1:])
    taken = (d.now, *d.rng.sample(alike, min(len(alike), d.rng.randint(1, 3))))
    if alike:
        d.add("cat.default", (sum(d.shapes[i][0] for i in taken), *d.shape[1:]), options=(1,), sources=taken)


def _pool(d: Drawing, name: str) -> None:
    channels, side, _ = d.shape
    window, stride = d.rng.choice((2, 3, 3)), d.rng.choice((1, 2, 2))
    if d.repeated:
        stride = 1
    if side > 4:
        after = (side + 2 * (window // 2) - window) // stride + 1
        d.add(name, (channels, after, after), options=([window] * 2, [stride] * 2, [window // 2] * 2))


def _mean(d: Drawing) -> None:
    """A mean that the rest of the chain does not take: the map is still there."""
    kept, channels = d.now, d.shape[0]
    if d.rng.random() < 0.5:
        d.add("mean.dim", (channels,), options=([2, 3],))
    else:
        d.add("adaptive_avg_pool2d.default", (channels, 1, 1), options=([1, 1],))
    d.now = kept


def _gate(d: Drawing) -> None:
    """Squeeze and excite."""
    kept, channels = d.now, d.shape[0]
    d.add("adaptive_avg_pool2d.default", (channels, 1, 1), options=([1, 1],))
    _convolve(d, window=1, out=max(8, channels // d.rng.choice((4, 16))))
    d.same(d.rng.choice(("relu.default", "silu.default")))
    _convolve(d, window=1, out=channels)
    d.same(d.rng.choice(("sigmoid.default", "hardsigmoid.default")))
    gate, d.now = d.now, kept
    if d.shapes[gate] == (channels, 1, 1):
        d.add("mul.Tensor", d.shape, sources=(kept, gate))


def _shuffle(d: Drawing) -> None:
    channels, side, _ = d.shape
    if channels % 2 == 0:
        d.add("view.default", (2, channels // 2, side, side), options=([1, 2, channels // 2, side, side],), view=True)
        d.add("transpose.int", (channels // 2, 2, side, side), options=(1, 2), view=True)
        d.add("contiguous.default", d.shape, run=float(side * side))
        d.add("view.default", (channels, side, side), options=([1, channels, side, side],), view=True)


def _halve(d: Drawing) -> None:
    if d.shape[0] % 2 == 0 and d.shape[0] > 16:
        d.add("chunk.default", d.shape, options=(2, 1), view=True)
        d.add("getitem", (d.shape[0] // 2, *d.shape[1:]), options=(d.rng.choice((0, 1)),), view=True)


def _to_tokens(d: Drawing) -> None:
    channels, side, _ = d.shape
    if side <= 56 and channels >= 32:
        d.add("flatten.using_ints", (channels, side * side), options=(2,), view=True)
        d.add("transpose.int", (side * side, channels), options=(1, 2), view=True)
        d.add("contiguous.default", d.shape)


def _to_row(d: Drawing) -> None:
    if math.prod(d.shape) <= 25088:
        d.add("flatten.using_ints", (math.prod(d.shape),), options=(1,), view=True)


ON_MAPS: list[tuple[Draw, float]] = [
    *EVERYWHERE, (_convolve, 11.0), (lambda d: _convolve(d, "each"), 1.8), (lambda d: _convolve(d, "some"), 1.0),
    (_norm, 1.6), (elementwise("hardtanh.default", 0.0, 6.0), 0.7), (elementwise("hardswish.default"), 0.7),
    (_cat, 1.8), (lambda d: _pool(d, "max_pool2d.default"), 0.6), (lambda d: _pool(d, "avg_pool2d.default"), 0.4),
    (_mean, 0.4), (_gate, 0.4), (_shuffle, 0.7), (_halve, 0.4),
]  # fmt: skip
BETWEEN: list[tuple[Draw, float]] = [
    (lambda d: _pool(d, "max_pool2d.default"), 2.0), (_convolve, 3.0), (_to_tokens, 1.0), (_to_row, 1.5),
]  # fmt: skip


# ---- on tokens -----------------------------------------------------------------------------------------------------


def _linear(d: Drawing) -> None:
    features = d.shape[-1]
    out = d.rng.choice((features, 4 * features, features // 4, near(d.rng, 10, 4096)))
    out = max(8, min(out, 4096))
    d.add("linear.default", (*d.shape[:-1], out), ((out, features), (out,)))


def _layer_norm(d: Drawing) -> None:
    d.same("layer_norm.default", ((d.shape[-1],),) * 2, ([d.shape[-1]],))


def _attend(d: Drawing) -> None:
    """Query, key and value from one product, heads apart, and back."""
    if len(d.shape) != 2 or d.shape[0] > 800 or d.shape[1] % 32:
        return
    tokens, features = d.shape
    inner = 64 if features % 64 == 0 and d.rng.random() < 0.7 else 32
    heads = features // inner
    if not d.add("linear.default", (tokens, 3 * features), ((3 * features, features), (3 * features,))):
        return
    product = d.now
    d.add("view.default", (tokens, 3, heads, inner), options=([1, tokens, 3, heads, inner],), view=True)
    d.add("permute.default", (3, heads, tokens, inner), options=([0, 2, 3, 1, 4],), view=True)
    together = d.now
    parts = []
    for i in range(3):
        d.now = together
        d.add("select.int", (heads, tokens, inner), options=(1, i), view=True)
        parts.append(d.now)
    if d.add("scaled_dot_product_attention.default", (heads, tokens, inner), sources=tuple(parts)):
        d.add("transpose.int", (tokens, heads, inner), options=(1, 2), view=True)
        d.add("reshape.default", (tokens, features), options=([1, tokens, features],), run=float(inner))
    else:
        d.now = product


ON_TOKENS: list[tuple[Draw, float]] = [*EVERYWHERE, (_linear, 4.0), (_layer_norm, 1.5), (_attend, 3.0)]
