"""A folder of images: one folder a class, or all in one without labels. It is listed at once, decoded when asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.data.array_names import ORDER, PARTS
from advisor.data.images.image_file import SUFFIXES, Picture, in_unit_range, read_image
from advisor.data.images.resizing import resized
from advisor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

ACCEPTED = "Pass a folder of images or of class folders, an .npz/.npy/.pt with x and y, or digits."


@dataclass(frozen=True)
class ImageFolder:
    """Images that were found, not yet decoded.

    Attributes:
        path: the folder.
        files: the images that were drawn.
        labels: position of each image's class among `classes`; None where the folder has none.
        classes: names of the class folders, numbers in their order, else words in theirs.
        found: how many images the folder holds.
        notes: what was assumed.
    """

    path: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]
    found: int
    notes: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """What this is, for people."""
        return f"{self.path.name}, {len(self.files):,} of {self.found:,} images at random"

    def first(self, count: int) -> ImageFolder:
        """The first of the images."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, files=self.files[:count], labels=labels)

    def decoded(
        self, resize: int | tuple[int, int] | None = None, channels: int | None = None
    ) -> tuple[Tensor, tuple[str, ...]]:
        """The images `[N, C, H, W]`, white at 1, and what was done to them.

        Raises:
            DataError: an unreadable image, or several sizes and none to bring them to.
        """
        import torch

        pictures, sizes = [], set()
        for path in self.files:
            picture = read_image(path, channels)
            sizes.add(picture.values.shape[1:])
            pictures.append(picture if resize is None else _sized(picture, resize))
        values, notes = in_unit_range(pictures)
        if len({len(image) for image in values}) > 1:
            return self.decoded(resize, 3)
        if len({image.shape for image in values}) > 1:
            raise DataError(f"The images in {self.path} have several sizes.", "Pass --resize 224.")
        if sizes != {values[0].shape[1:]}:
            notes = (*notes, f"Images were resized and cropped to {values[0].shape[1]}×{values[0].shape[2]}.")
        return torch.stack(values), notes


def _sized(picture: Picture, size: int | tuple[int, int]) -> Picture:
    return replace(picture, values=resized(picture.values[None], size)[0])


def list_images(folder: Path, limit: int, seed: int, labels: bool = True, part: str = "test") -> ImageFolder:
    """At most `limit` images of a folder, drawn at random; none is opened.

    Of a folder that holds the parts of a data set (train, val, test) the one asked for is taken.

    Class folders that are all numbers stand in numeric order, others in that of their names. Images beside no class
    folder, or in a single one, have no labels.

    Raises:
        DataError: when it holds fewer than two images.
    """
    import torch

    whole, folder = folder, _part_of(folder, part)
    classes, empty = _class_folders(folder)
    listed = [(path, index) for index, name in enumerate(classes) for path in _images(folder / name)]
    loose = [path for path in sorted(folder.iterdir()) if _is_image(path)]
    notes = [] if folder is whole else [f"Of {whole.name} the part {folder.name} was taken."]
    if listed and empty:
        notes.append(f"Empty class folders keep their place among the classes: {', '.join(empty)}.")
    if listed and loose:
        notes.append(f"{len(loose)} image(s) beside the class folders of {folder.name} were left out.")
    if not listed:
        listed, classes = [(path, 0) for path in loose], ()
    if len(listed) < 2:
        raise DataError(f"{folder} holds {len(listed) or 'no'} image(s).", ACCEPTED)
    filled = [name for name in classes if name not in empty]
    if labels and len(filled) < 2:
        where = f"one class folder, {filled[0]!r}" if filled else "no class folders"
        notes.append(f"{folder.name} has {where}: its images are taken without labels.")
    order = torch.randperm(len(listed), generator=torch.Generator().manual_seed(seed))[:limit].sort().values.tolist()
    drawn = [listed[i] for i in order]
    kept = tuple(index for _, index in drawn) if labels and len(filled) > 1 else None
    names = classes if kept is not None else ()
    return ImageFolder(folder, tuple(path for path, _ in drawn), kept, names, len(listed), tuple(notes))


def _part_of(folder: Path, part: str) -> Path:
    """The folder itself, or where all its folders are parts of a data set, that of the part."""
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    parts = {PARTS[name.lower()]: name for name in sorted(names) if name.lower() in PARTS}
    if not names or len(names) != len([n for n in names if n.lower() in PARTS]):
        return folder
    return folder / next(parts[wanted] for wanted in ORDER[part] if wanted in parts)


def _class_folders(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the class folders in order, and of those that are empty: labels count them all the same.

    A folder that holds other files alone is no class.
    """
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__"))]
    empty = [name for name in names if not any((folder / name).iterdir())]
    names = [name for name in names if name in empty or any(True for _ in _images(folder / name))]
    numbers = all(name.isascii() and name.isdecimal() for name in names)
    order = sorted(names, key=lambda name: (int(name), name) if numbers else (0, name))
    return tuple(order), tuple(name for name in order if name in empty)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _is_image(path: Path) -> bool:
    """By its name; hidden files are what systems leave beside images (._1.png)."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
