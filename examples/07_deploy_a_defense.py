"""Train a defense, write the halves, run them through the wire, and attack what was sent.

python examples/07_deploy_a_defense.py --out out/halves
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import advisor
from advisor.defenses import parse_defense


def trained(x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """A small CNN for 8×8 digits."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/halves"))
    parser.add_argument("--format", choices=("pt2", "onnx"), default="pt2")
    parser.add_argument("--samples", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args(arguments)

    digits = load_digits()
    x = torch.tensor(digits.images[: options.samples], dtype=torch.float32).unsqueeze(1) / 16  # [N, 1, 8, 8] in [0, 1]
    y = torch.tensor(digits.target[: options.samples])
    middle, most = len(x) // 2, min(200, len(x) // 8)  # the defense and the net learn from the first half
    graph = advisor.trace(trained(x[:middle], y[:middle], options.epochs), x[:2])

    variant = advisor.defend(graph, "4", "ridge", x[:middle], width=4, epochs=options.epochs)
    defense = parse_defense(f"gaussian:sigma={0.5 * float(variant.recipe['payload_rms'])}")
    plan = advisor.Plan((variant.payload,), defense, {}, inputs=variant.inputs, graph=variant)
    made = advisor.export(plan, options.out, options.format, data=(x[middle:], None))
    assert made.freshness is not None
    assert made.attacked is not None
    print(f"wrote {', '.join(made.files)}; a message of one input has {made.crossings[0].message_bytes} bytes")
    print(f"noise of variance {made.freshness.variance:.3f}, {made.freshness.promised:.3f} promised")

    edge, cloud = advisor.runtime.Edge(options.out), advisor.runtime.Cloud(options.out)
    private, labels = x[-most:], y[-most:]
    message = edge.send(private)
    assert edge.resend() == message != edge.send(private)  # a lost message is repeated, a new one draws anew
    answers = torch.as_tensor(cloud.receive(message)).argmax(1)
    whole = graph(private).argmax(1)
    print(f"accuracy {share(answers, labels)} through the wire, {share(whole, labels)} undefended")

    bare = advisor.attack(graph, "4", x[middle:]).nmse
    print(f"attack on the written edge: NMSE {made.attacked.scores['nmse']:.2f}, on the bare cut {bare:.2f}")


def share(found: Tensor, labels: Tensor) -> str:
    return f"{100 * (found == labels).float().mean().item():.1f} %"


if __name__ == "__main__":
    main()
