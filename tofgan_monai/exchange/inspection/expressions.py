"""Checks the `$` expressions in a bundle from another clinic against a small grammar of Python.

Anything that is not in the grammar is refused: lambda, comprehensions, f-strings, assignments, stars, bytes, powers,
shifts, and most attributes. allowed.yaml lists the names that an expression may call or use. Each check yields pairs of
text: the fault, and the harm that it could do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from tofgan_monai.exchange.inspection.allowed import allowed, harm
from tofgan_monai.exchange.inspection.problems import shown
from tofgan_monai.exchange.inspection.scope import MAX_BITS, Scope, as_written, leaves_the_settings, parsed, reference

MAX_NUMBER = 2**40
LEAVES_THE_BUNDLE = re.compile(r"(?i)^\s*([/\\~]|[a-z]:[/\\]|[a-z][a-z0-9+.-]*:/)|(^|[/\\])\.\.([/\\]|$)|\$\{|\0")
_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Not, ast.USub, ast.UAdd, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn),
)
_NESTED = (ast.BoolOp, ast.Compare, ast.UnaryOp, ast.IfExp, ast.List, ast.Tuple, ast.Dict)

Found = tuple[str, str]  # the fault, and the harm that it could do
CheckArgument = Callable[[str, ast.expr], Iterator[Found]]


def check_expression(value: str, scope: Scope, check_argument: CheckArgument) -> Iterator[Found]:
    """Yields the faults of a `$` expression; nothing if the expression is allowed.

    Args:
        value: the expression as text, with the `$`.
        scope: meaning of names and references in all configurations.
        check_argument: function that yields the faults of an argument in a call, given the name of the argument and
            its part of the syntax tree.
    """
    tree = parsed(value)
    if tree is None:
        yield f"{shown(value)} is too long, or Python and MONAI read it differently", "could be any code"
        return
    yield from _check(tree, scope, check_argument)


def _check(node: ast.expr, scope: Scope, check_argument: CheckArgument) -> Iterator[Found]:
    """Yields the faults of one part of an expression, and of all parts below it in the syntax tree."""

    def below(*nodes: ast.expr | None) -> Iterator[Found]:
        for child in nodes:
            if child is not None:
                yield from _check(child, scope, check_argument)

    if (name := reference(node)) is not None:
        if leaves_the_settings(name):
            yield f"@{name} refers to a module or the metadata", "could reach anything in it"
    elif isinstance(node, ast.Constant):
        yield from check_constant(node.value)
    elif isinstance(node, ast.Name | ast.Attribute):
        yield from _check_name(node, scope, below)
    elif isinstance(node, ast.Call):
        yield from _check_call(node, scope, check_argument, below)
    elif isinstance(node, ast.Subscript):
        if not _is_plain_index(node.slice):
            yield f"the index {shown(as_written(node.slice))} is no plain number or name", "could be any code"
        yield from below(node.value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
        is_path = scope.is_inside_node(node)
        if not is_path:
            yield from _check_arithmetic(node, scope)
        yield from below(node.left, None if is_path else node.right)
    elif isinstance(node, _NESTED) and all(
        isinstance(child, (ast.expr, ast.expr_context, *_OPERATORS)) for child in ast.iter_child_nodes(node)
    ):
        if isinstance(node, ast.Dict) and None in node.keys:
            yield "uses ** in a dictionary", "hides its keys from the reader"
        yield from below(*(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)))
    else:
        what = getattr(node, "op", node)
        yield (
            f"uses {type(what).__name__} in {shown(as_written(node))}",
            "could run code of its own, or fill the memory",
        )


def check_constant(value: object) -> Iterator[Found]:
    """Yields the fault of a plain value: a path that leads out of the bundle, a huge number, or an unknown type."""
    if isinstance(value, str) and LEAVES_THE_BUNDLE.search(value):
        yield f"{shown(value)} leads out of the bundle", "could read or write any file of whoever runs it, or fetch one"
    elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        yield f"the number {shown(value)} is too large", "could fill the memory"
    elif not isinstance(value, str | int | float | None):
        yield f"{shown(value)} is no plain value", "could be read as something else"


def _check_name(node: ast.Name | ast.Attribute, scope: Scope, below: Callable) -> Iterator[Found]:
    """Yields the fault of a name or attribute that is not on the list; `below` checks the parts of the attribute."""
    name = scope.dotted(node)
    if name is None and isinstance(node, ast.Attribute):
        if node.attr not in allowed().attributes:
            yield (f"the attribute .{shown(node.attr)[1:-1]} is not on the list", "could reach any object from there")
        yield from below(node.value)
    elif name and name not in allowed().values:
        yield f"{shown(name)[1:-1]} is not on the list", harm(name)


def _check_call(node: ast.Call, scope: Scope, check_argument: CheckArgument, below: Callable) -> Iterator[Found]:
    """Yields the faults of a call: its function, its arguments, and the parts below (see `_check`)."""
    name = scope.dotted(node.func)
    method = node.func if name is None and isinstance(node.func, ast.Attribute) else None
    parameters = allowed().methods.get(method.attr) if method else allowed().calls.get(name or "")
    if name is not None and parameters is None:
        yield f"{shown(name)[1:-1]} is not on the list", harm(name)
    elif method:
        if parameters is None:
            yield f"the method .{shown(method.attr)[1:-1]} is not on the list", "could call any function"
        yield from below(method.value)
    elif name is None:
        yield f"calls {shown(as_written(node.func))}", "could call any function"
    if any(isinstance(argument, ast.Starred) for argument in node.args) or any(k.arg is None for k in node.keywords):
        yield "uses * or ** in a call", "hides its arguments from the reader"
        return
    named = [*zip(parameters or (), node.args, strict=False), *((k.arg or "", k.value) for k in node.keywords)]
    if parameters is not None and (len(node.args) > len(parameters) or {key for key, _ in named} - {*parameters}):
        yield (
            f"{name or (method and method.attr)} takes {', '.join(parameters) or 'nothing'} here",
            "could do anything with other arguments, which nobody has checked",
        )
    for key, argument in named:
        yield from check_argument(key, argument)
    yield from below(*node.args, *(keyword.value for keyword in node.keywords))


def _check_arithmetic(node: ast.BinOp, scope: Scope) -> Iterator[Found]:
    """Yields the fault of an arithmetic expression: it may give no number, or a number of any size."""
    text = shown(as_written(node))
    if (bits := scope.bits(node)) is None:
        yield (
            f"{text} is neither of numbers nor a path within the bundle",
            "could name any file, or fill the memory",
        )
    elif bits > MAX_BITS:
        yield f"{text} has a result whose size has no bound", "could fill the memory"


def _is_plain_index(node: ast.expr) -> bool:
    """Whether an index is a whole number, also a negative one, or a text."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, str)
