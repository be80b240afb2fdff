"""Ranking formulas: arithmetic over arrays, one value per candidate."""

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError

Values = NDArray[np.float64]
VARIABLES = ("score", "freshness", "popularity", "affinity")
MAX_LENGTH = 500
MAX_DEPTH = 64
LARGEST = 1e300


class FormulaError(NearfeedError):
    """A formula that cannot be computed; the text says which part of it is wrong."""


class Function(NamedTuple):
    """How a function is computed, and how many arguments it takes at least and at most."""

    compute: Callable[..., Any]
    least: int
    most: int


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(np.abs, 1, 1),
    "clip": Function(lambda values, low, high: np.minimum(np.maximum(values, low), high), 3, 3),
    "exp": Function(np.exp, 1, 1),
    "log1p": Function(np.log1p, 1, 1),
    "max": Function(lambda *values: reduce(np.maximum, values), 2, MAX_LENGTH),
    "min": Function(lambda *values: reduce(np.minimum, values), 2, MAX_LENGTH),
    "sqrt": Function(np.sqrt, 1, 1),
}
OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.UAdd: np.positive,
    ast.USub: np.negative,
}


def variables_of(sources: Iterable[str]) -> dict[str, str]:
    """By source the variable that has its scores: its name with `_` for what no variable may hold.

    Raises FormulaError where two would be one, or one is a variable or a function that is there anyway.
    """
    variables: dict[str, str] = {}
    for source in sources:
        name = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in source)
        name = f"_{name}" if name[0].isdigit() else name
        if name in variables.values() or name in VARIABLES or name in FUNCTIONS:
            raise FormulaError(f"A formula cannot tell the source {source} from another `{name}`; rename it.")
        variables[source] = name
    return variables


def check_formula(text: str, names: Collection[str]) -> None:
    """Raises FormulaError for what is no formula over `names`, and says what is known instead."""
    for node in _steps_of(_parsed(text)):
        _check_node(text, node, names)


def evaluate_formula(text: str, values: Mapping[str, NDArray[Any]]) -> Values:
    """One finite number per candidate, from arrays (n) by name. Raises FormulaError.

    What is no number, or is above 1e300 in size, comes below all others: it gets the lowest place.
    """
    check_formula(text, values)
    arrays = {name: np.asarray(array, dtype=np.float64) for name, array in values.items()}
    with np.errstate(all="ignore"):
        result = _evaluated(_parsed(text), arrays)
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    return _finite(np.broadcast_to(result, shape))


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"A formula has at most {MAX_LENGTH} characters, not {len(text)}; shorten it.")
    try:
        tree = ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(f"{text!r} is no formula: {getattr(error, 'msg', error)}.") from error
    if _depth_of(tree) > MAX_DEPTH:
        raise FormulaError(f"A formula nests at most {MAX_DEPTH} levels; use parentheses to level long sums.")
    return tree


def _depth_of(tree: ast.AST) -> int:
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _steps_of(node: ast.expr) -> Iterable[ast.expr]:
    """A node and the nodes whose values it needs; the name of a function is none of them."""
    yield node
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    for child in children:
        if isinstance(child, ast.expr):
            yield from _steps_of(child)


def _check_node(text: str, node: ast.expr, names: Collection[str]) -> None:
    match node:
        case ast.Name(id=name):
            if name not in names:
                raise FormulaError(f"The formula has {name}, which is not known; known are {_list(names)}.")
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            _check_call(name, len(args))
        case ast.Constant(value=(int() | float()) as number) if not isinstance(number, bool):
            if number > LARGEST:
                raise FormulaError(f"The formula has a number above {LARGEST:g}; make it smaller.")
        case ast.BinOp(op=operator) | ast.UnaryOp(op=operator) if type(operator) in OPERATORS:
            pass
        case _:
            raise FormulaError(
                f"The formula {text!r} has {ast.unparse(node)!r}; it may have numbers, + - * / **, "
                f"parentheses, {_list(names)}, and the functions {_list(FUNCTIONS)}."
            )


def _check_call(name: str, arguments: int) -> None:
    if name not in FUNCTIONS:
        raise FormulaError(f"The formula calls {name}, which is not known; known are {_list(FUNCTIONS)}.")
    function = FUNCTIONS[name]
    if not function.least <= arguments <= function.most:
        wanted = f"{function.least}" if function.least == function.most else f"{function.least} or more"
        raise FormulaError(f"The formula calls {name} with {arguments} arguments; give it {wanted}.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _evaluated(node: ast.expr, arrays: Mapping[str, Values]) -> Values:
    match node:
        case ast.Name(id=name):
            return arrays[name]
        case ast.Constant(value=value):
            return np.asarray(value, dtype=np.float64)
        case ast.Call(func=ast.Name(id=name), args=args):
            compute = FUNCTIONS[name].compute
            return np.asarray(compute(*(_evaluated(arg, arrays) for arg in args)))
        case ast.BinOp(left=left, op=operator, right=right):
            return np.asarray(OPERATORS[type(operator)](_evaluated(left, arrays), _evaluated(right, arrays)))
        case ast.UnaryOp(op=operator, operand=operand):
            return np.asarray(OPERATORS[type(operator)](_evaluated(operand, arrays)))
    raise FormulaError(f"The formula has {ast.unparse(node)!r}, which was not checked.")


def _finite(result: Values) -> Values:
    fine = np.abs(result) <= LARGEST
    least = float(result[fine].min(initial=0.0))
    return np.where(fine, result, least - max(1.0, abs(least)))
