"""Patterns that find the files of scans below a folder.

A pattern is a path relative to the folder. `{subject}` stands for the scan's name, `{session}` for the session's name,
`*` for any text within a name, `**/` for any folders, and `/**` at the end for any folder of a DICOM series. `.nii.gz`
at the end finds `.nii` too, and the folder of a series counts as one file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from tofgan_monai.errors import InputError

_TOKEN = re.compile(r"(\{[^}]*\}|/\*\*$|\*\*/|\*)")


def refuse_odd_pattern(kind: str, pattern: str | None) -> None:
    """Checks that a pattern has `{subject}`, and in braces nothing else but `{session}`; None is no pattern.

    Args:
        kind: the name of the option in the message, such as "image".
        pattern: the pattern.

    Raises:
        InputError: it has not.
    """
    if pattern is None:
        return
    names = re.findall(r"\{([^}]*)\}", pattern)
    if "subject" not in names or set(names) - {"subject", "session"}:
        raise InputError(
            f"--{kind} {pattern}: write {{subject}} in place of the subject's name; a pattern may have {{session}} and "
            'nothing else in braces, for example "{subject}_tof.nii.gz"'
        )


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    expression, names = "", set()
    pattern = pattern.removeprefix("./").rstrip("/")
    for token in _TOKEN.split(re.sub(r"\.nii\.gz$", "", pattern)):
        name = token[1:-1]
        if token.startswith("{"):
            expression += f"(?P={name})" if name in names else f"(?P<{name}>[^/]+)"
            names.add(name)
        else:
            expression += {"/**": r"(?:/.*)?(?<!\.nii)(?<!\.nii\.gz)", "**/": "(?:.*/)?", "*": "[^/]*"}.get(
                token, re.escape(token)
            )
    return re.compile(expression + (r"(?i:\.nii(?:\.gz)?)" if pattern.endswith(".nii.gz") else ""))


def matches_of(pattern: str, paths: Sequence[str]) -> dict[tuple[tuple[str, str], ...], list[str]]:
    """Returns a dict from the values of a pattern's placeholders to the paths with these values."""
    matches: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for path in paths:
        match = _compiled(pattern).fullmatch(path)
        if match:
            parts = match.groupdict()
            keys = tuple((name, parts[name]) for name in ("subject", "session") if name in parts)
            matches.setdefault(keys, []).append(path)
    return matches


def filled_in(pattern: str | None, parts: Mapping[str, str], paths: Sequence[str]) -> list[str]:
    """Returns the paths that fit a pattern after the values in `parts` have replaced the pattern's placeholders."""
    if pattern is None:
        return []
    expression = _compiled(pattern).pattern
    for name, value in parts.items():
        expression = expression.replace(f"(?P<{name}>[^/]+)", re.escape(value)).replace(
            f"(?P={name})", re.escape(value)
        )
    return [path for path in paths if re.fullmatch(expression, path)]
