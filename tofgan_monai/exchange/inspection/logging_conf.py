"""Checks logging.conf, whose `class` and `args` Python evaluates before MONAI reads anything else of a bundle."""

from __future__ import annotations

import configparser
import re

from tofgan_monai.exchange.inspection.problems import Problem, shown

_FORMAT = r"(?!.*\d{4})[ -~]*"  # a width of four digits or more could fill the memory
# `%` only in formats: elsewhere Python replaces %(key)s by the text of another key, and then evaluates the value.
_KEYS = {
    r"loggers|handlers|formatters": {"keys": r"[A-Za-z0-9_, ]*"},
    r"logger_\w+": {
        "level": r"[A-Z]+",
        "handlers": r"[A-Za-z0-9_, ]*",
        "propagate": r"[01]",
        "qualname": r"[A-Za-z0-9_.]+",
    },
    r"handler_\w+": {
        "class": r"(logging\.)?StreamHandler",
        "level": r"[A-Z]+",
        "formatter": r"\w+",
        "args": r"\(\s*(sys\.std(out|err)\s*,?)?\s*\)",
    },
    r"formatter_\w+": {"format": _FORMAT, "datefmt": _FORMAT},
}
_TWO_WAYS = "could be read in two ways"


def check_logging(file: str, data: bytes) -> list[Problem]:
    """Problems of a logging.conf: everything in it except loggers that write to the terminal."""
    try:
        text = data.decode("ascii").replace("\r\n", "\n")
        if "\r" in text:  # some readers end a line there and others do not
            return [Problem(file, text[: text.index("\r")].count("\n") + 1, "a lone carriage return", _TWO_WAYS)]
        parser = configparser.RawConfigParser()
        parser.read_string(text)
    except (UnicodeDecodeError, configparser.Error) as error:
        return [Problem(file, 0, f"not readable as ASCII ({shown(str(error))})", _TWO_WAYS)]
    problems = [
        Problem(
            file,
            _line(text, "DEFAULT", key),
            f"{shown(key)} for all sections",
            "could replace the values of the sections",
        )
        for key in parser.defaults()
    ]
    for section in parser.sections():
        known = next((keys for kind, keys in _KEYS.items() if re.fullmatch(kind, section, re.ASCII)), {})
        for key, value in parser.items(section):
            if key not in parser.defaults() and not re.fullmatch(known.get(key, r"(?!)"), value, re.ASCII):
                what = f"[{section}] {key} = {value}"
                problems.append(
                    Problem(file, _line(text, section, key), shown(what)[1:-1], "could run any code, or write any file")
                )
    return problems


def _line(text: str, section: str, key: str) -> int:
    """The line number of a key in a section; 0 if it is not found."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            inside = line.startswith(f"[{section}]")
        elif inside and re.match(rf"\s*{re.escape(key)}\s*[=:]", line, re.IGNORECASE):
            return number
    return 0
