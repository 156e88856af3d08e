"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from advisor.errors import AdvisorError

WHERE, WHAT, BUDGETS, SEARCH, OUTPUT = "Where it runs", "Model and data", "Budgets", "Search", "Output"
T = TypeVar("T")

Model = Annotated[
    str,
    typer.Argument(
        help="A .pt2 (torch.export), TorchScript, state-dict, .safetensors or pickled file; torchvision:resnet18; or "
        "with --trust a function of yours that builds it, net.py:make.",
        show_default=False,
    ),
]
ModelAgain = Annotated[
    str | None, typer.Argument(help="A file or name as above; with --from it may be left out.", show_default=False)
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Edge device: a name of `advisor devices`, local, ssh://user@host, or FILE.toml.",
        rich_help_panel=WHERE,
    ),
]
Link = Annotated[
    str,
    typer.Option("--link", help="A name of `advisor links`, or bandwidth=20Mbps,rtt=15ms.", rich_help_panel=WHERE),
]
Cloud = Annotated[str, typer.Option("--cloud", help="Cloud machine: as --device.", rich_help_panel=WHERE)]
Shape = Annotated[
    str | None,
    typer.Option("--input-shape", help="One input without the batch: 3,224,224.", rich_help_panel=WHAT),
]
Data = Annotated[
    str | None,
    typer.Option("--data", help="A folder of images, an .npz/.npy/.pt with x and y, or digits.", rich_help_panel=WHAT),
]
TrainData = Annotated[
    str | None,
    typer.Option(
        "--train-data",
        help="What trained defenses learn from: as --data; of a file that holds both, the training part.",
        rich_help_panel=WHAT,
    ),
]
Aux = Annotated[
    str | None,
    typer.Option(
        "--aux",
        help="What the attacker learns from: as --train-data, or synthetic; else a part of --data.",
        rich_help_panel=WHAT,
    ),
]
Task = Annotated[
    str,
    typer.Option("--task", help="auto, classes, multilabel, regression, dense or ranking.", rich_help_panel=WHAT),
]
Scores = Annotated[
    str | None,
    typer.Option("--scores", help="Which output counts, by name or number.", rich_help_panel=WHAT),
]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Leave labels of the data out.", rich_help_panel=WHAT)]
Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        help="Builds the model of a state dict: package.module:factory, torchvision:resnet18(num_classes=10).",
        rich_help_panel=WHAT,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run the code that the model file contains, or that MODEL names.", rich_help_panel=WHAT
    ),
]
Normalize = Annotated[
    str,
    typer.Option("--normalize", help="auto, none, imagenet, or mean=0.5,std=0.25.", rich_help_panel=WHAT),
]
Resize = Annotated[
    int | None, typer.Option("--resize", min=1, help="Resize images to 224 pixels a side.", rich_help_panel=WHAT)
]
MaxTensors = Annotated[
    int | None, typer.Option("--max-tensors", min=1, help="How many tensors may cross a cut.", rich_help_panel=WHAT)
]
Granularity = Annotated[
    str | None, typer.Option("--granularity", help="Cuts after every op, layer or block.", rich_help_panel=WHAT)
]
Tail = Annotated[
    str | None,
    typer.Option("--tail", help="The cut after which the edge takes over again (U-shape).", rich_help_panel=WHERE),
]
Extra = Annotated[
    Path | None,
    typer.Option("--extra", help="Your own TOML of devices and links, in the catalog's form.", rich_help_panel=WHERE),
]
NoConfig = Annotated[
    bool,
    typer.Option("--no-config", help="Leave advisor.toml and pyproject.toml alone.", rich_help_panel=SEARCH),
]
Pictures = Annotated[
    bool,
    typer.Option(
        "--pictures", help="Keep pictures of private inputs, and of what attacks made of them.", rich_help_panel=OUTPUT
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same answer.", rich_help_panel=SEARCH)]
Compute = Annotated[
    str,
    typer.Option(
        "--compute", help="auto, cpu, cuda, cuda:1 or mps: where tensors are computed.", rich_help_panel=SEARCH
    ),
]
Memory = Annotated[
    str | None, typer.Option(help="Keep to so much memory: 3GB. Default: what is free.", rich_help_panel=SEARCH)
]
AttackSize = Annotated[
    str | None,
    typer.Option(
        "--attack-size",
        help="Reconstruct images at their native size, or at 64 pixels a side; recommend: else what time allows.",
        rich_help_panel=SEARCH,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.", rich_help_panel=OUTPUT)]
AllCuts = Annotated[
    bool,
    typer.Option("--all-cuts", help="Show every cut, not only those that close a block.", rich_help_panel=OUTPUT),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the files.", rich_help_panel=OUTPUT)]


def sizes(text: str | None, option: str) -> tuple[int, ...] | None:
    """`3,224,224` or `3x224x224` as numbers, all above zero.

    Raises:
        AdvisorError: on anything else; the message names the option.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.lower().replace("×", ",").replace("x", ",").split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 and int(part) > 0 for part in parts):
        raise AdvisorError(f"{option} {text!r} is no list of sizes.", f"Write {option} 3,224,224.")
    return tuple(int(part) for part in parts)


def optional(parse: Callable[[str], T], text: str | None, option: str) -> T | None:
    """A value that may be absent; an error names the option.

    Raises:
        AdvisorError: when `parse` refuses the text.
    """
    if text is None:
        return None
    try:
        return parse(text)
    except AdvisorError as error:
        raise AdvisorError(f"{option}: {error.problem}", error.next_step) from None


OwnRequirements = Annotated[
    list[str] | None,
    typer.Option(help="One of your own: package.module:ROW=5; may be repeated.", rich_help_panel=BUDGETS),
]
