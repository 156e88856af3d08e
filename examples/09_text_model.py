"""A text model: token ids instead of pixels. What can be recovered are the ids, and an attack says how many.

It learns which chapter of Python's own documentation (`pydoc_data.topics`, on every computer) a window of 32
characters is from.

    python examples/09_text_model.py --out out/text
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

import advisor

WINDOW, LETTERS, CHAPTERS = 32, 128, ("class", "formatstrings", "typesmapping", "import")


class Reader(nn.Module):
    """Character embeddings, one layer of attention, mean over the window."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(LETTERS, width)
        self.attend = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, len(CHAPTERS))

    def forward(self, ids: Tensor) -> Tensor:
        """`[N, window]` ids to `[N, chapters]` scores."""
        read: Tensor = self.attend(self.embed(ids))
        answer: Tensor = self.head(read.mean(1))
        return answer


def windows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random windows `[N, 32]` of ids, and the chapter `[N]` of each."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(len(CHAPTERS), (count,), generator=draw)
    texts = [torch.tensor([min(ord(letter), LETTERS - 1) for letter in topics[name]]) for name in CHAPTERS]
    starts = torch.rand(count, generator=draw)
    rows = [texts[label][int(s * (len(texts[label]) - WINDOW)) :][:WINDOW] for label, s in zip(y, starts, strict=True)]
    return torch.stack(rows), y


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/text"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    net = Reader()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(options.steps):
        ids, labels = windows(64, seed=step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(ids), labels).backward()
        optimizer.step()
    net.eval()

    ids, labels = windows(options.samples, seed=10**6)
    with torch.no_grad():
        print(f"Right: {100 * (net(ids).argmax(1) == labels).float().mean().item():.1f} %")
    advice = advisor.recommend(
        net, ids[:2], device="raspberry-pi-4b", data=(ids, labels), max_accuracy_drop="5%", max_ids_recovered="50%",
        trials=options.trials, require_split=True,
    )  # fmt: skip
    print(advice.summary())
    for found in advice.evidence:
        if "top1" in found.scores:
            print(f"{found.attack} at {found.cut}, {found.defense}: {100 * float(found.scores['top1']):.0f} % of ids")
    advice.save(options.out)


if __name__ == "__main__":
    main()
