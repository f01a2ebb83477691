"""What a user states about a dataset, so that others can cite it and know what they may do with it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tofgan_monai.errors import InputError
from tofgan_monai.exchange.leaks import leaks

_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")
_URL = re.compile(r"https?://[\w.-]+(/\S*)?")
_PLACEHOLDER = "FAMILY, GIVEN"  # in commands that this program prints, as LICENSE and REASON
_MAX_LENGTH = 200  # characters of a title or a name


@dataclass(frozen=True)
class Citation:
    """Statements about a dataset.

    Attributes:
        license: SPDX expression, such as CC-BY-4.0, or the address of the terms of use.
        creators: persons as "Family, Given", and institutions.
        title: title of the dataset, one line; empty for one that says which kind of pairs it holds.
        version: version of the dataset, such as 1.0.0.
        published: day of the publication.
        url: address of the dataset's page; None if there is none yet.
    """

    license: str
    creators: tuple[str, ...]
    title: str
    version: str
    published: datetime.date
    url: str | None = None

    @property
    def license_address(self) -> str:
        """The address of the terms of use, or the SPDX expression if it names several licences."""
        is_one = not _URL.fullmatch(self.license) and " " not in self.license and "LicenseRef" not in self.license
        return f"https://spdx.org/licenses/{self.license}.html" if is_one else self.license

    @property
    def text(self) -> str:
        """The citation as one line."""
        where = f" {self.url}" if self.url else ""
        names = "; ".join(self.creators)
        return f"{names} ({self.published.year}). {self.title} (version {self.version}) [Data set].{where}"


def checked(citation: Citation) -> Citation:
    """Returns the citation with the licence in SPDX's spelling.

    Raises:
        InputError: the licence is no SPDX expression and no address, the version or the address has another form, a
            name or the title is empty or too long, or the title tells of this machine or of a patient.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    problems = list(_problems(citation))
    license = citation.license
    if not _URL.fullmatch(license):
        try:
            license = canonicalize_license_expression(license)
        except InvalidLicenseExpression:
            problems.append(
                f"--license {license}: no identifier of spdx.org/licenses; give one such as CC-BY-4.0, or the address "
                "of your terms of use"
            )
    if problems:
        raise InputError(problems)
    return Citation(license, citation.creators, citation.title, citation.version, citation.published, citation.url)


def _problems(citation: Citation) -> Iterator[str]:
    if not _VERSION.fullmatch(citation.version):
        yield f"--version {citation.version}: not a version of the form 1.0.0; give one"
    if citation.url is not None and not _URL.fullmatch(citation.url):
        yield f"--url {citation.url}: no address of a page; give one that begins with https://"
    if not citation.creators:
        yield 'nobody to cite; give --creator "Family, Given" or an institution'
    for option, text in [("--title", citation.title), *(("--creator", name) for name in citation.creators)]:
        if not text.strip() or not text.isprintable() or len(text) > _MAX_LENGTH:
            yield f"{option} {text!r}: give one line of 1 to {_MAX_LENGTH} characters"
        if text == _PLACEHOLDER:
            yield f"{option} {text!r}: is the place of a name in a printed command; give a name"
    for told in leaks("title.json", json.dumps({"title": citation.title}).encode()):
        yield f"--title: {told.what}: {told.could}"
