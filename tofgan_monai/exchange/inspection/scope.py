"""Finds what names and references mean in a bundle's configurations, for any choice of files that MONAI merges.

An id is the path of keys to a value, such as `train::dataset`; an expression refers to the value as `@train::dataset`.
An overlay is a configuration that changes values of another one, such as `train::dataset::cache`. A node is a part of
an expression's syntax tree, as Python's module `ast` gives it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any

from monai.bundle import ReferenceResolver

from tofgan_monai.exchange.inspection.allowed import allowed, is_builtin
from tofgan_monai.exchange.inspection.reading import Document, walk

REFERENCES = "__local_refs"  # the name by which MONAI replaces `@` in an expression
GLOBALS = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}  # MONAI defines them for expressions
MAX_BITS, MAX_DEPTH, MAX_LENGTH = 2**12, 50, 500
_TAIL = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.=-]*)+/?")
_RUNS_OR_CONFIGURES = re.compile(r"(?i)/configs(/|$)|\.(py[a-z]?|so|pth|dll|dylib|ya?ml|conf|sh|exe|bat)(/|$)")
_OWN = re.compile(r"(?i)/(models|docs|configs|license|manifest\.json)\.*(/|$)")  # files that came with the bundle
_AS_LARGE = {f"builtins.{name}" for name in ("abs", "int", "max", "min", "round")}  # results as large as the arguments
_SMALL = {
    *("builtins.float", "builtins.len", "math.pi"),
    *("torch.cuda.device_count", "torch.distributed.get_rank", "torch.distributed.get_world_size"),
}


class Scope:
    """Holds the import that each name stands for, and all values that the files of a bundle give to each id.

    The user decides which files are merged, and in which order. So an id is judged by all its values.

    Args:
        documents: the configurations.
        metadata: the bundle's metadata.json, which expressions reach as `_meta_`; None if there is none.
    """

    def __init__(self, documents: Iterable[Document], metadata: Document | None) -> None:
        self.names = dict(GLOBALS)
        self._values: dict[str, list[Any]] = {}
        self._patches: dict[str, list[Any]] = {}  # values that overlays give to single items below an id
        self._grown: set[str] = set()  # ids of lists that an overlay extends
        self._known: dict[tuple[Any, ...], Any] = {}
        for document in documents:
            for key, value in document.content.items():
                name = ReferenceResolver.normalize_id(key).removeprefix("+")
                self._define(name, value)
                for at in re.finditer("::", name):
                    self._patches.setdefault(name[: at.start()], []).append(value)
                if key.startswith("+"):
                    self._grown.add(name)
        if metadata is not None:
            self._define("_meta_", metadata.content)

    def _define(self, name: str, value: Any) -> None:
        """Records a value of an id, and the values of all ids below it."""
        for path, item in walk(value, (name,)):
            self._values.setdefault("::".join(map(str, path)), []).append(item)

    def values(self, name: str) -> list[Any]:
        """Returns all values that an id may have; empty if they cannot be known."""
        found = self._values.get(name, [])
        if any(name[: at.start()] in self._grown for at in re.finditer("::", name)):
            return []  # an overlay extends the list, so the indices in the files are not the final ones
        if any(isinstance(value, list) for value in found):
            found = found + self._patches.get(name, [])
        return found

    def _once(self, question: Callable[..., Any], name: str, depth: int, *more: Any) -> Any:
        """Returns the result of a method of this class for an id, computed only once.

        The result is None if references lead back to the same id, or if there are more than MAX_DEPTH of them.

        Args:
            question: the method.
            name: the id.
            depth: number of references that led to the id.
            more: further arguments of the method.
        """
        key = (question.__name__, name, *more)
        if key not in self._known:
            self._known[key] = None
            self._known[key] = None if depth > MAX_DEPTH else question(name, depth + 1, *more)
        return self._known[key]

    # ---- names

    def dotted(self, node: ast.AST) -> str | None:
        """Returns the full dotted name of a name or of an import's attribute; None for any other kind of node."""
        if isinstance(node, ast.Name):
            known = self.names.get(node.id)
            return known or (f"builtins.{node.id}" if is_builtin(node.id) else node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return base and f"{base}.{node.attr}"
        return None

    # ---- paths

    def is_inside(self, value: Any, depth: int = 0, *, written: bool = False) -> bool:
        """Whether a value is safe as a path: null, a path within the bundle, or an object that is no path.

        Args:
            value: the value as it is written in a file.
            depth: number of references that led to this value.
            written: whether a run may write to this path. If so, the path must not be one of the files and folders
                that came with the bundle.
        """
        if value is None or value is False:
            return True
        if depth > MAX_DEPTH:
            return False
        if isinstance(value, list):
            return all(self.is_inside(item, depth + 1, written=written) for item in value)
        if isinstance(value, dict):
            return self._may_stand_for_path(value.get("_target_"), written)
        if not isinstance(value, str):
            return False
        if value.startswith("$"):
            tree = parsed(value)
            return tree is not None and self.is_inside_node(tree, depth + 1, written=written)
        return value.startswith("@") and self._refers(ReferenceResolver.normalize_id(value[1:]), depth, written)

    def _refers(self, name: str, depth: int, written: bool) -> bool:
        """Whether every value of an id is safe as a path, so that a configuration may refer to it; see `is_inside`."""
        if name == "bundle_root" and not written:  # it is "." in every file; only the user may give another
            return True
        return bool(self._once(self._are_inside, name, depth, written))

    def _are_inside(self, name: str, depth: int, written: bool) -> bool:
        """Whether an id has values that are all safe as a path; the rule for `bundle_root` is in `_refers`."""
        values, patched = self.values(name), self._values.get(f"{name}::_target_", [])
        return (
            bool(values)
            and all(
                (value == "." and name == "dataset_dir" and not written)
                or self.is_inside(value, depth, written=written)
                for value in values
            )
            and all(self._may_stand_for_path(target, written) for target in patched)
        )

    def _may_stand_for_path(self, target: Any, written: bool) -> bool:
        """Whether a component with this target may stand for a path, by the list in allowed.yaml."""
        known = allowed()
        return str(target) in (known.folders if written else known.folders | known.datasets)

    def is_inside_node(self, node: ast.AST, depth: int = 0, *, written: bool = False) -> bool:
        """Whether a part of an expression is safe as a path: null, within the bundle, or an object that is no path."""
        if (name := reference(node)) is not None:
            return self._refers(name, depth, written)
        if isinstance(node, ast.Constant):
            return node.value is None or node.value is False
        if isinstance(node, ast.BinOp):  # the left side must be a path or null: '' + '/etc' leads out
            if not (isinstance(node.op, ast.Add) and is_tail(node.right)):
                return False
            if written and reference(node.left) == "bundle_root":
                return not _OWN.match(ast.literal_eval(node.right))
            is_path = reference(node.left) is not None or isinstance(node.left, ast.BinOp)
            return is_path and self.is_inside_node(node.left, depth, written=written)
        parts: list[ast.expr] = []
        if isinstance(node, ast.BoolOp):
            parts = node.values
        elif isinstance(node, ast.IfExp):
            parts = [node.body, node.orelse]
        elif isinstance(node, ast.List | ast.Tuple):
            parts = node.elts
        else:
            return not written and self._is_digest(node)
        return all(self.is_inside_node(part, depth, written=written) for part in parts)

    def _is_digest(self, node: ast.AST) -> bool:
        """Whether an expression gives a digest, by which the record of a training run names a file or a data set."""
        if isinstance(node, ast.Call):
            return self.dotted(node.func) in ("tofgan_monai.sha256", "tofgan_monai.weights_file_digest")
        return isinstance(node, ast.Attribute) and node.attr == "digest" and reference(node.value) is not None

    # ---- sizes

    def bits(self, node: ast.AST, depth: int = 0) -> int | None:
        """Returns an upper bound on the bit length of an expression's result; None if the result may be no number."""
        if (name := reference(node)) is not None:
            return self._once(self._bits_of, name, depth)
        if isinstance(node, ast.Constant):
            return _bits_of_value(node.value)
        if isinstance(node, ast.BinOp):
            return _sum([self.bits(side, depth) for side in (node.left, node.right)])
        if isinstance(node, ast.UnaryOp):
            return self.bits(node.operand, depth)
        if isinstance(node, ast.Call) and self.dotted(node.func) in _AS_LARGE:
            sizes = [self.bits(side, depth) for side in node.args]
            return None if None in sizes else _sum([*sizes, 1024])  # the largest float has 1024 bits as an int
        if isinstance(node, ast.Call | ast.Attribute):
            return 64 if self.dotted(node.func if isinstance(node, ast.Call) else node) in _SMALL else None
        return None

    def _bits_of(self, name: str, depth: int) -> int | None:
        """Returns an upper bound on the bit length of all values of an id; None if a value may be no number."""
        sizes = [self._bits_of_any(value, depth) for value in self.values(name)] or [None]
        return None if None in sizes else max(size for size in sizes if size is not None)

    def _bits_of_any(self, value: Any, depth: int) -> int | None:
        """Returns an upper bound on the bit length of one value, which may be an expression or a reference."""
        if isinstance(value, str) and value.startswith("$"):
            tree = parsed(value)
            return None if tree is None else self.bits(tree, depth)
        if isinstance(value, str) and value.startswith("@"):
            return self._once(self._bits_of, ReferenceResolver.normalize_id(value[1:]), depth)
        return _bits_of_value(value)


def _sum(sizes: list[int | None]) -> int | None:
    """Returns the sum of bit lengths plus 1, a bound for the result of arithmetic; None if one of them is unknown."""
    known = [size for size in sizes if size is not None]
    return sum(known) + 1 if len(known) == len(sizes) else None


def _bits_of_value(value: Any) -> int | None:
    """Returns the bit length of a plain value, 64 for a float or null; None if it is no number."""
    if isinstance(value, int):
        return max(value.bit_length(), 1)
    return 64 if value is None or isinstance(value, float) else None


def expression(value: str) -> tuple[str, dict[str, int]]:
    """Returns the text that MONAI passes to Python for a `$` expression, and a dict from reference to its count."""
    references = ReferenceResolver.match_refs_pattern(value)
    return ReferenceResolver.update_refs_pattern(value, references)[1:], references


def parsed(value: str) -> ast.expr | None:
    """Returns the syntax tree of a `$` expression.

    The result is None if the expression is too long, if Python cannot read it, or if Python and MONAI find different
    references in it.
    """
    if len(value) > MAX_LENGTH:
        return None
    text, references = expression(value)
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = [name for node in ast.walk(tree) if (name := reference(node)) is not None]
    whole = len(found) == sum(references.values()) and set(found) == set(references)
    return tree if whole and all(references) else None


def reference(node: ast.AST) -> str | None:
    """Returns the id that a part of an expression refers to; None if this part is no reference."""
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == REFERENCES
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ):
        return node.slice.value
    return None


def as_written(node: ast.AST) -> str:
    """Returns the text of a part of an expression as it is written in the file, with `@id` for a reference."""
    return re.sub(rf"{REFERENCES}\['([\w:]+)'\]", r"@\1", ast.unparse(node))


def leaves_the_settings(name: str) -> bool:
    """Whether an id names an imported module or the metadata, and not a setting of the configuration."""
    return name.split("::")[0] in ("imports", "_meta_")


def is_tail(node: ast.AST) -> bool:
    """Whether a part of an expression is a text such as '/output', which may be appended to the path of a folder.

    The text must not lead out of the folder, and must not name a hidden file, a program or a configuration.
    """
    text = node.value if isinstance(node, ast.Constant) else None
    return isinstance(text, str) and bool(_TAIL.fullmatch(text)) and not _RUNS_OR_CONFIGURES.search(text)


def import_of(value: str) -> tuple[str, str] | None:
    """Returns the name that a `$import` statement defines and the dotted name imported; None if it is not plain."""
    try:
        (statement,) = ast.parse(value[1:]).body
        (alias,) = statement.names  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, RecursionError, MemoryError, AttributeError):
        return None
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return alias.asname or alias.name, f"{statement.module}.{alias.name}"
    if isinstance(statement, ast.Import):
        return alias.asname or alias.name, alias.name  # without `as`, MONAI binds no more than `torch` in `torch.x`
    return None
