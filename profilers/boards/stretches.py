"""Parts of a model as plain functions, for timing: what a module of each would run, in a tenth of the time to build."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.operations.subgraphs import needed
from advisor.operations.symbols import expression, is_symbolic

if TYPE_CHECKING:
    from torch import fx

    from advisor.graph import PartitionGraph

_LINE, _DROPPED = re.compile(r"\w+ = "), re.compile(r";  (\w+ = )+None$")


class Stretches:
    """The lines of code of a model's operations, and functions made of some of them.

    Building a module for both halves of every cut takes longer than running them: its graph is copied, written as code
    and its parameters collected anew each time. Here the model is written as code once; a part is the lines it needs,
    with values dropped after their last use, as in a module's own code.
    """

    def __init__(self, graph: PartitionGraph) -> None:
        from torch import fx

        self.graph, self.root = graph, graph.module
        plain, copied = fx.Graph(), dict[fx.Node, fx.Node]()
        plain.graph_copy(graph.module.graph, copied)
        code = plain.python_code("self")
        body = [line.strip() for line in code.src.split("def forward", 1)[1].splitlines()[1:] if line.strip()]
        nodes = [node for node in graph.module.graph.nodes if node.op not in ("placeholder", "output")]
        self.names = {node: twin.name for node, twin in copied.items()}
        written = {line.split(" = ", 1)[0]: _DROPPED.sub("", line) for line in body}
        strange = [line for line in body if not _LINE.match(line)]
        strange += [node.name for node in nodes if self.names[node] not in written]
        if strange:
            raise AdvisorError(f"{strange[0]!r} is no line of code as expected.", "Please report this model.")
        self.lines = {node: written[self.names[node]] for node in nodes}
        self.globals = dict(code.globals)

    def between(self, start: int, stop: int) -> Callable[..., Any]:
        """What lies between two cuts, for one sample: takes the activation at the first, returns that at the second."""
        inputs, outputs = self.graph.activation_nodes[start], self.graph.activation_nodes[stop]
        wanted = needed(inputs, outputs)
        nodes = [n for n in self.root.graph.nodes if n in wanted and n not in inputs and n in self.lines]
        text = [f"def part(self, {', '.join(self.names[n] for n in inputs)}):"]
        text += [f"    {line}" for line in self._dropping(nodes, outputs)]
        returned = ", ".join(self.names[n] for n in outputs)
        text.append(f"    return {returned if len(outputs) == 1 else f'({returned},)'}")
        scope = dict(self.globals)
        exec(compile("\n".join(text), "<part of a model>", "exec"), scope)
        return functools.partial(scope["part"], self.root)

    def _dropping(self, nodes: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> list[str]:
        """Lines of nodes, each with the names that nobody reads afterwards."""
        last = {source: node for node in nodes for source in node.all_input_nodes}
        for node in nodes:
            last.setdefault(node, node)
        ended: dict[fx.Node, list[str]] = {}
        for value, node in last.items():
            if value not in outputs:
                ended.setdefault(node, []).append(self.names[value])
        lines = []
        for node in nodes:
            line = f"{self.names[node]} = {_one(node)}" if is_symbolic(node) else self.lines[node]
            lines.append(line + (f";  {' = '.join(ended[node])} = None" if node in ended else ""))
        return lines


def _one(node: fx.Node) -> int:
    """A size that follows from the batch, for a batch of one."""
    value = expression(node.meta["val"])
    return int(value.subs(dict.fromkeys(value.free_symbols, 1)))
