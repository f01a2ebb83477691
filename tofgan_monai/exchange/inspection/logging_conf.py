"""Checks the logging.conf of a bundle. Python evaluates its `class` and `args` before MONAI reads any other file."""

from __future__ import annotations

import configparser
import re

from tofgan_monai.exchange.inspection.problems import Problem, shown

_FORMAT = r"(?!.*\d{4})[ -~]*"  # a width of four digits or more could fill the memory
_LEVEL, _NAMES = r"[A-Z]+", r"[A-Za-z0-9_, ]*"
# `%` only in formats: elsewhere Python replaces %(key)s by the text of another key, and then evaluates the value.
_KEYS = {
    r"loggers|handlers|formatters": {"keys": _NAMES},
    r"logger_\w+": {"level": _LEVEL, "handlers": _NAMES, "propagate": r"[01]", "qualname": r"[A-Za-z0-9_.]+"},
    r"handler_\w+": {
        "class": r"(logging\.)?StreamHandler",
        "level": _LEVEL,
        "formatter": r"\w+",
        "args": r"\(\s*(sys\.std(out|err)\s*,?)?\s*\)",
    },
    r"formatter_\w+": {"format": _FORMAT, "datefmt": _FORMAT},
}
_TWO_WAYS, _REPLACES = "could be read in two ways", "could replace the values of the sections; remove this section"
_RUNS = "could run any code, or write any file"


def check_logging(file: str, data: bytes) -> list[Problem]:
    """Returns a problem for each entry in a logging.conf that could do more than write log lines to the terminal.

    Args:
        file: path of the file, for the messages.
        data: content of the file.
    """
    try:
        text = data.decode("ascii").replace("\r\n", "\n")
        if "\r" in text:  # some readers end a line there and others do not
            return [
                Problem(
                    file,
                    text[: text.index("\r")].count("\n") + 1,
                    "has a carriage return without a line feed",
                    _TWO_WAYS,
                )
            ]
        parser = configparser.RawConfigParser()
        parser.read_string(text)
    except (UnicodeDecodeError, configparser.Error) as error:
        return [Problem(file, 0, f"is not readable as ASCII ({shown(str(error))})", _TWO_WAYS)]
    found = [("DEFAULT", key, f"sets {shown(key)} for all sections", _REPLACES) for key in parser.defaults()]
    for section in parser.sections():
        known = next((keys for kind, keys in _KEYS.items() if re.fullmatch(kind, section, re.ASCII)), {})
        for key, value in parser.items(section):
            if key not in parser.defaults() and not re.fullmatch(known.get(key, r"(?!)"), value, re.ASCII):
                found.append((section, key, shown(f"[{section}] {key} = {value}")[1:-1], _RUNS))
    return [Problem(file, _line(text, section, key), what, could) for section, key, what, could in found]


def _line(text: str, section: str, key: str) -> int:
    """Returns the line number of a key in a section; 0 if the key is not found."""
    found = re.search(rf"(?msi)^\[{re.escape(section)}\].*?^\s*{re.escape(key)}\s*[=:]", text)
    return text.count("\n", 0, found.end()) + 1 if found else 0
