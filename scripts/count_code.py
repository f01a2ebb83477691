"""Prints for each given folder its number of lines of Python code, without docstrings, comments and blank lines.

python scripts/count_code.py tofgan_monai tests scripts
"""

from __future__ import annotations

import ast
import sys
import tokenize
from pathlib import Path

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_HAS_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def count_code(path: Path) -> int:
    """Number of lines of a Python file that hold code, without docstrings, comments and blank lines."""
    with tokenize.open(path) as file:
        tokens = [token for token in tokenize.generate_tokens(file.readline) if token.type not in _NO_CODE]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, _HAS_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]
        print(f"{sum(map(count_code, files)):7,d}  {folder}")
