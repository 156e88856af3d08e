"""Examples that `--help` ends with; a test parses each."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "recommend": (
        "advisor recommend model.pt2 --device jetson",
        "advisor recommend model.pt2 --data images/ --max-latency 50ms --max-accuracy-drop 2% --min-nmse 0.7",
        "advisor recommend torchvision:resnet18 --link bandwidth=20Mbps,rtt=15ms --require-split",
        "advisor recommend --from out --max-latency 40ms",
    ),
    "profile": (
        "advisor profile model.pt2 --device raspberry-pi-5 --link lte",
        "advisor profile model.pt2 --device ssh://pi@board --time-limit 60s --out profile.json",
    ),
    "leakage": ("advisor leakage model.pt2 --data test.npz", "advisor leakage model.pt2 --only score,rc2 --json"),
    "attack": (
        "advisor attack model.pt2 --cut layer2.relu --defense gaussian:sigma=0.5 --data test.npz",
        "advisor attack out --budget strong",
    ),
    "attacks": ("advisor attacks --json",),
    "defend": (
        "advisor defend out --train-data train.npz --timeout 1h",
        "advisor defend model.pt2 --cut layer2 --method ridge --data test.npz --recipe width=8,stride=2",
    ),
    "defenses": ("advisor defenses --json",),
    "split": ("advisor split out --out halves", "advisor split out --format onnx --plan 2"),
    "report": ("advisor report out", "advisor report out --format md --out summary.md"),
    "compare": ("advisor compare out-jetson out-pi", "advisor compare before after --format html --out both.html"),
    "check": (
        "advisor check out --max-latency 50ms --max-ssim 0.3 --model new.pt2 --data test.npz",
        "advisor check out --digest 3f0c…  (64 digits, as recommend prints them)",
    ),
    "whatif": (
        "advisor whatif out --link 1..100Mbps",
        "advisor whatif out --link 1..100Mbps --max-latency 10ms..1s --out whatif.html",
        "advisor whatif out --link trace=lte.csv --portfolio 3",
    ),
    "calibrate": ("advisor calibrate --out device.toml --time-limit 60s",),
    "devices": ("advisor devices --full",),
    "links": ("advisor links --json",),
    "doctor": ("advisor doctor",),
}
"""Command -> what one may type."""


def epilog(name: str) -> str | None:
    """The examples of a command, a paragraph each: typer joins lines otherwise."""
    lines = EXAMPLES.get(name, ())
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)]) if lines else None
