"""What rounding drowned in a kernel of plain products: read from standardised elements, in double precision.

One channel far larger than the others, or what all elements have in common, takes all digits of float32 products. Where
they hold fewer directions than samples and elements allow, each element is brought to the same spread and the products
are taken again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from advisor.cut_view import CutView
from advisor.measures.decoders.standard import inverse
from advisor.measures.gram_matrices import Kernel, centred_blocks, remembered, roles, train_kernel

KEPT = 0.9
"""Share of the possible directions from which on nothing counts as drowned."""

GAIN = 0.9
"""The other kernel is taken where it leaves at most this share of the error: standardising alone moves it by less."""

DECADES = (-13.0, 4.0)
ELEMENTS = 4096
"""Whose products are taken at once."""


@remembered
def standard_gram(view: CutView) -> Tensor | None:
    """Inner products `[n, n]` float64 of standardised elements; None where plain ones drown nothing."""
    train, _ = roles(view.targets)
    known = view.z[train]
    scale = inverse(known.mean(0), known.std(0))
    possible = min(len(train) - 1, int((scale > 0).sum()))
    if int((train_kernel(view).values > 0).sum()) >= KEPT * possible:
        return None
    found = view.z.new_zeros((len(view.z), len(view.z)), dtype=torch.float64)
    for part in torch.split(torch.arange(view.z.shape[1]), ELEMENTS):
        rows = (view.z[:, part] - known[:, part].mean(0)).double() * scale[part].double()
        found += rows @ rows.T
    return found


@remembered
def standard_kernel(view: CutView) -> Kernel | None:
    """The linear kernel of standardised elements; None where plain ones drown nothing."""
    gram = standard_gram(view)
    return None if gram is None else Kernel.of(*centred_blocks(gram, *roles(view.targets)), exact=True)
