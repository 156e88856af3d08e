"""Symbolic sizes of a serialised program: arithmetic whose evaluation is harmless and short.

Torch hands these strings to sympy's `sympify`, which evaluates them as Python. Here they are parsed, never evaluated,
and held to a list of node kinds, names and magnitudes.
"""

from __future__ import annotations

import ast
import re

MAX_LENGTH = 10_000
MAX_NODES = 2_000
MAX_EXTREMA = 40  # sympy compares the arguments of Max and Min pair by pair
MAX_BITS = 64  # of a literal
MAX_POWER = 64
MAX_SIZE = 4096  # bits of a number, or degree of a polynomial times 64, that powers and products may reach
VARIABLE = re.compile(r"[a-z]{1,6}\d{1,6}")  # torch counts up to the highest number
CONSTANTS = frozenset({"oo", "int_oo", "zoo", "nan", "True", "False"})
FUNCTIONS = frozenset(
    {"FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv",
     "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator",
     "TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "Identity", "Add", "Mul", "Pow", "Integer",
     "Rational", "Equality", "Unequality", "GreaterThan", "LessThan", "StrictGreaterThan", "StrictLessThan", "Max",
     "Min", "Abs", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "floor", "ceiling", "sqrt", "Piecewise"}
)  # fmt: skip
POWERS = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift"})
PLAIN = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr)
COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


class _NotPlainError(ValueError):
    pass


def plain_expression(text: str) -> bool:
    """Whether a symbolic size is short arithmetic over size variables (`s0`, `u1`) and torch's own functions."""
    if len(text) > MAX_LENGTH or not text.isascii() or not text.isprintable():
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
        extrema = sum(isinstance(n, ast.Name) and n.id in ("Max", "Min") for n in nodes)
        return len(nodes) <= MAX_NODES and extrema <= MAX_EXTREMA and _size(tree) <= MAX_SIZE
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False


def _size(node: ast.expr) -> int:
    """An upper bound of the bits that the value needs; a variable counts 64.

    Raises:
        _NotPlainError: a node that is not on the list.
    """
    match node:
        case ast.Constant(bool() | float()):
            return MAX_BITS
        case ast.Constant(int(value)) if value.bit_length() <= MAX_BITS:
            return value.bit_length() + 1
        case ast.Name(name) if VARIABLE.fullmatch(name) or name in CONSTANTS:
            return MAX_BITS
        case ast.UnaryOp(ast.USub() | ast.UAdd() | ast.Invert(), operand):
            return _size(operand)
        case ast.BinOp(left, ast.Pow(), right):
            return _bounded(_size(left) * _exponent(right))
        case ast.BinOp(left, operator, right) if isinstance(operator, PLAIN):
            return _bounded(_size(left) + _size(right))
        case ast.Compare(left, operators, others) if all(isinstance(o, COMPARED) for o in operators):
            return max(_size(part) for part in (left, *others))
        case ast.Tuple(parts):
            return max((_size(part) for part in parts), default=0)
        case ast.Call(ast.Name(name), arguments, keywords):
            return _called(name, arguments, keywords)
    raise _NotPlainError


def _called(name: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> int:
    if name in ("Symbol", "Float"):
        return _literal(name, arguments, keywords)
    if name not in FUNCTIONS or keywords:
        raise _NotPlainError
    if name in POWERS:
        if len(arguments) != 2:
            raise _NotPlainError
        exponent = _exponent(arguments[1])
        return _bounded(_size(arguments[0]) + exponent if name == "LShift" else _size(arguments[0]) * exponent)
    return _bounded(sum(_size(argument) for argument in arguments))


def _literal(name: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> int:
    """`Symbol('s0', integer=True)` or `Float('0.5', precision=53)`."""
    match arguments:
        case [ast.Constant(str(text))] if (
            VARIABLE.fullmatch(text) if name == "Symbol" else re.fullmatch(r"[\d.e+-]{1,40}", text)
        ):
            pass
        case _:
            raise _NotPlainError
    for keyword in keywords:
        match keyword:
            case ast.keyword(str(), ast.Constant(bool())) if name == "Symbol":
                pass
            case ast.keyword("precision", ast.Constant(int(bits))) if name == "Float" and 0 < bits <= 1024:
                pass
            case _:
                raise _NotPlainError
    return MAX_BITS


def _exponent(node: ast.expr) -> int:
    """The magnitude of a power or shift, which must be a small number."""
    match node:
        case ast.UnaryOp(ast.USub(), operand):
            return _exponent(operand)
        case ast.Call(ast.Name("Integer"), [operand], []):
            return _exponent(operand)
        case ast.Call(ast.Name("Rational"), [top, bottom], []):
            return max(_exponent(top), _exponent(bottom))
        case ast.Constant(int(value) | float(value)) if value <= MAX_POWER:
            return max(1, int(value))
        case ast.Call(ast.Name("Float"), [ast.Constant(str(text))], _):
            return _exponent(ast.Constant(float(text)))
    raise _NotPlainError


def _bounded(size: int) -> int:
    if size > MAX_SIZE:
        raise _NotPlainError
    return size
