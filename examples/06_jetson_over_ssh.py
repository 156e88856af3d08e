"""Measure every cut on the device itself, over ssh; then advise from that profile, here, as often as you like.

The device needs Python 3.8 or newer with PyTorch or ONNX Runtime, and your key. Nothing is installed there; one folder
under /tmp is made and removed.

    python examples/06_jetson_over_ssh.py --model model.pt2 --device ssh://user@jetson --data test.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import advisor


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", default="ssh://user@jetson")
    parser.add_argument("--data")
    parser.add_argument("--link", default="wifi")
    parser.add_argument("--seconds", type=float, default=60, help="of timing on the device")
    parser.add_argument("--max-latency", default="50ms")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("out/jetson"))
    options = parser.parse_args(arguments)

    measured = advisor.profile(options.model, options.device, options.link, limit=options.seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    measured.save(options.out / "profile.json")
    edge = measured["edge_latency"]
    whole = edge.at(len(measured.cuts) - 1)
    print(f"The whole model takes {1e3 * float(whole):.2f} ms there ({edge.source}).")

    advice = advisor.recommend(
        options.model, profile=measured, link=options.link, data=options.data, max_latency=options.max_latency,
        trials=options.trials,
    )  # fmt: skip
    print(advice.summary())
    advice.save(options.out)


if __name__ == "__main__":
    main()
