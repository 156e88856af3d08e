"""A recommender of two towers: who a user is and what they read stays on the phone, the catalogue is in the cloud.

The data are made here: users and items with hidden tastes, and whether a user liked an item. The model takes two
inputs of ids, by name; its answer is a score, judged by how well it ranks (ROC-AUC).

    python examples/10_recommender.py --out out/recommender
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import advisor

ITEMS, READ = 300, 8


class TwoTowers(nn.Module):
    """The user's tower reads the last items; the item's tower and the score come after it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.items = nn.Embedding(ITEMS, width)
        self.user = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, width))
        self.item = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, width))

    def forward(self, history: Tensor, item: Tensor) -> Tensor:
        """`[N, 8]` items read and `[N]` the item offered, to `[N, 1]` scores."""
        taste = self.user(self.items(history).mean(1))
        return (taste * self.item(self.items(item))).sum(1, keepdim=True)


def interactions(count: int, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Histories, offered items, and whether they were liked: items have hidden kinds, users like three of ten."""
    draw = torch.Generator().manual_seed(seed)
    kinds = torch.arange(ITEMS) % 10
    liked = torch.stack([torch.randperm(10, generator=draw)[:3] for _ in range(count)])
    kind = liked.gather(1, torch.randint(3, (count, READ), generator=draw))
    history = kind + 10 * torch.randint(ITEMS // 10, (count, READ), generator=draw)
    item = torch.randint(ITEMS, (count,), generator=draw)
    likes = (kinds[item][:, None] == liked).any(1)
    noisy = torch.rand(count, generator=draw) < 0.05
    return {"history": history, "item": item}, (likes ^ noisy).long()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/recommender"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    net = TwoTowers()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(options.steps):
        x, y = interactions(256, seed=step)
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(**x)[:, 0], y.float()).backward()
        optimizer.step()
    net.eval()

    x, y = interactions(options.samples, seed=10**6)
    advice = advisor.recommend(
        net, x, device="pixel-4-sd855", link="lte", data=(x, y), task="ranking", max_accuracy_drop="3%",
        trials=options.trials, require_split=True, max_tensors=2,
    )  # fmt: skip
    print(advice.summary())
    for found in advice.evidence:
        if "top1" in found.scores:
            print(f"{found.attack} at {found.cut}: {100 * float(found.scores['top1']):.0f} % of the ids recovered")
    advice.save(options.out)


if __name__ == "__main__":
    main()
