"""What names and references of a bundle's configurations can stand for, whichever of them MONAI merges."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any

from monai.bundle import ReferenceResolver

from tofgan_monai.exchange.inspection.allowed import allowed, is_builtin
from tofgan_monai.exchange.inspection.reading import Document

REFERENCES = "__local_refs"  # what MONAI writes for an @id within an expression
GLOBALS = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}  # what MONAI gives each expression
MAX_BITS, MAX_DEPTH, MAX_LENGTH = 2**12, 50, 500
_TAIL = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.=-]*)+/?")
_RUNS_OR_CONFIGURES = re.compile(r"(?i)/configs(/|$)|\.(py[a-z]?|so|pth|dll|dylib|ya?ml|conf|sh|exe|bat)(/|$)")
_OWN = re.compile(r"(?i)/(models|docs|configs|license|manifest\.json)\.*(/|$)")  # what a bundle came with
_AS_LARGE = {f"builtins.{name}" for name in ("abs", "int", "max", "min", "round")}  # as their arguments
_SMALL = {
    *("builtins.float", "builtins.len", "math.pi"),
    *("torch.cuda.device_count", "torch.distributed.get_rank", "torch.distributed.get_world_size"),
}


class Scope:
    """Names by what they import, ids by all values that any of the files gives them.

    Which files are merged, and in which order, is for the user to say: a question about an id is asked of every value.
    """

    def __init__(self, documents: Iterable[Document], metadata: Document | None) -> None:
        self.names = dict(GLOBALS)
        self._values: dict[str, list[Any]] = {}
        self._patches: dict[str, list[Any]] = {}  # of single items below an id, by an overlay
        self._grown: set[str] = set()  # lists that an overlay adds to
        self._known: dict[tuple[Any, str], Any] = {}
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
        self._values.setdefault(name, []).append(value)
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            self._define(f"{name}::{key}", item)

    def values(self, name: str) -> list[Any]:
        """All that an id may be; empty where that cannot be told."""
        found = self._values.get(name, [])
        if any(name[: at.start()] in self._grown for at in re.finditer("::", name)):
            return []  # the indices of a list that is added to are not those that stand in the file
        if any(isinstance(value, list) for value in found):
            found = found + self._patches.get(name, [])
        return found

    def _once(self, question: Callable[[str, int], Any], name: str, depth: int, unknown: Any) -> Any:
        """The answer about an id, found once; `unknown` where it goes round in a circle or too deep."""
        key = (question.__name__, name)
        if key not in self._known:
            self._known[key] = unknown
            self._known[key] = unknown if depth > MAX_DEPTH else question(name, depth + 1)
        return self._known[key]

    # ---- names

    def dotted(self, node: ast.AST) -> str | None:
        """The whole name of what a name or a chain of attributes of an import means; None for anything else."""
        if isinstance(node, ast.Name):
            known = self.names.get(node.id)
            return known or (f"builtins.{node.id}" if is_builtin(node.id) else node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return base and f"{base}.{node.attr}"
        return None

    # ---- paths

    def is_inside(self, value: Any, depth: int = 0, *, written: bool = False) -> bool:
        """Whether a value is null, or within the bundle, or an object that is no path.

        Args:
            value: as it stands in a file.
            depth: of the references that led to it.
            written: whether a file may come to lie there. What the bundle came with is then not enough.
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
        return self._once(self._refers_beside if written else self._refers_inside, name, depth, False)

    def _refers_inside(self, name: str, depth: int) -> bool:
        return name == "bundle_root" or self._are_inside(name, depth, written=False)  # "." in every file, or the user's

    def _refers_beside(self, name: str, depth: int) -> bool:
        return self._are_inside(name, depth, written=True)

    def _are_inside(self, name: str, depth: int, *, written: bool) -> bool:
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
        known = allowed()
        return str(target) in (known.folders if written else known.folders | known.datasets)

    def is_inside_node(self, node: ast.AST, depth: int = 0, *, written: bool = False) -> bool:
        """The same of a part of an expression."""
        if (name := reference(node)) is not None:
            return self._refers(name, depth, written)
        if isinstance(node, ast.Constant):
            return node.value is None or node.value is False
        if isinstance(node, ast.BinOp):  # only what certainly is a path, or null: '' + '/etc' is no place within
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
        """Whether an expression gives a digest: a recipe records files and data sets by their digests."""
        if isinstance(node, ast.Call):
            return self.dotted(node.func) in ("tofgan_monai.sha256", "tofgan_monai.weights_file_digest")
        return isinstance(node, ast.Attribute) and node.attr == "digest" and reference(node.value) is not None

    # ---- sizes

    def bits(self, node: ast.AST, depth: int = 0) -> int | None:
        """At most so many bits has the number that an expression gives; None where it may be something else."""
        if (name := reference(node)) is not None:
            return self._once(self._bits_of, name, depth, None)
        if isinstance(node, ast.Constant):
            return _bits_of_value(node.value)
        if isinstance(node, ast.BinOp):
            return _sum([self.bits(side, depth) for side in (node.left, node.right)])
        if isinstance(node, ast.UnaryOp):
            return self.bits(node.operand, depth)
        if isinstance(node, ast.Call) and self.dotted(node.func) in _AS_LARGE:
            sizes = [self.bits(side, depth) for side in node.args]
            return None if None in sizes else _sum([*sizes, 1024])  # of the largest float, as an int
        if isinstance(node, ast.Call | ast.Attribute):
            return 64 if self.dotted(node.func if isinstance(node, ast.Call) else node) in _SMALL else None
        return None

    def _bits_of(self, name: str, depth: int) -> int | None:
        sizes = [self._bits_of_any(value, depth) for value in self.values(name)] or [None]
        return None if None in sizes else max(size for size in sizes if size is not None)

    def _bits_of_any(self, value: Any, depth: int) -> int | None:
        if isinstance(value, str) and value.startswith("$"):
            tree = parsed(value)
            return None if tree is None else self.bits(tree, depth)
        if isinstance(value, str) and value.startswith("@"):
            return self._once(self._bits_of, ReferenceResolver.normalize_id(value[1:]), depth, None)
        return _bits_of_value(value)


def _sum(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) + 1 if len(known) == len(sizes) else None


def _bits_of_value(value: Any) -> int | None:
    if isinstance(value, int):
        return max(value.bit_length(), 1)
    return 64 if value is None or isinstance(value, float) else None


def expression(value: str) -> tuple[str, dict[str, int]]:
    """What Python is given of a `$` expression, its references replaced as MONAI does; and how often each occurs."""
    references = ReferenceResolver.match_refs_pattern(value)
    return ReferenceResolver.update_refs_pattern(value, references)[1:], references


def parsed(value: str) -> ast.expr | None:
    """The tree of a `$` expression; None where Python cannot read it, or would read a reference as something else."""
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
    """The id that a part of an expression refers to."""
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
    """A part of an expression as it stands in the file, `@id` and all."""
    return re.sub(rf"{REFERENCES}\['([\w:]+)'\]", r"@\1", ast.unparse(node))


def leaves_the_settings(name: str) -> bool:
    """Whether an id is not a setting of the configuration: a module that it imports, or the metadata."""
    return name.split("::")[0] in ("imports", "_meta_")


def is_tail(node: ast.AST) -> bool:
    """Whether a part of an expression is '/...' below a folder: no way up, no hidden file, nothing that is run."""
    text = node.value if isinstance(node, ast.Constant) else None
    return isinstance(text, str) and bool(_TAIL.fullmatch(text)) and not _RUNS_OR_CONFIGURES.search(text)


def import_of(value: str) -> tuple[str, str] | None:
    """The name and the dotted origin of a `$import` statement; None where it is not one plain import."""
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


def may_import(origin: str) -> bool:
    """Whether an origin is on the list: a module, or what may be called or named."""
    known = allowed()
    return origin in known.modules or origin in known.calls or origin in known.values
