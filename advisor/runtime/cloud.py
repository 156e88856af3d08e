"""The cloud's side of an exported plan: a message is checked, unpacked and answered."""

from __future__ import annotations

import os
from typing import Any

from advisor import wire
from advisor.runtime.edge import received
from advisor.runtime.opened import CheckedFolder

MOST_SAMPLES = 1024
"""In one message, unless it is said: what the half computes grows with them."""


class Cloud:
    """The half that runs in the cloud.

    Args:
        folder: an export; the edge's files need not be there.
        most: samples that one message may hold.

    Raises:
        AdvisorError: when the folder is no export, a file of it was changed, or would run code.
    """

    def __init__(self, folder: str | os.PathLike[str], *, most: int = MOST_SAMPLES) -> None:
        opened = CheckedFolder(folder)
        self.plan, self.most = opened.plan, most
        crossings = self.plan["crossings"]
        self._tensors, self._answers = crossings[0]["tensors"], len(crossings) > 1
        self._half = opened.half(opened.part(crossings[0]["receiver"]))

    def receive(self, message: bytes) -> Any:
        """The model's output; of a U-shaped plan the message that goes back to the edge.

        Sizes and types are held against the plan before anything is allocated.

        Raises:
            AdvisorError: when the bytes are no message, or not one of this plan.
        """
        found = received(self._half, message, self._tensors, self.most)
        if self._answers:
            return wire.pack(found)
        return found[0] if isinstance(found, list) and len(found) == 1 else found
