"""Describes a dataset for programs, in the JSON-LD of MLCommons Croissant.

mlcroissant 1.1 reads no .npy, so the records are the PNG files of two archives. Two traps of that version decide the
form. Fields from two file sets that are joined all get the content of the first one, so images and labels are two
record sets of the same names. And an archive is unpacked into a folder that only its name decides, so a dataset with
other pairs needs archives of other names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, time
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.exchange.dataset.card import LIMITS, USES, Described
from tofgan_monai.exchange.release import in_words
from tofgan_monai.files import sha256
from tofgan_monai.pairs.export import PNG_VALUES

_TYPES = {
    ".npy": "application/x-npy",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".zip": "application/zip",
}


def mlcroissant() -> Any:
    """Returns the module mlcroissant.

    Raises:
        InputError: it is not installed.
    """
    try:
        import mlcroissant
    except ImportError as error:
        raise InputError("a release needs mlcroissant; run pip install 'tofgan-monai[release]'") from error
    return mlcroissant


def write_croissant(path: Path, described: Described, archives: Mapping[str, str]) -> None:
    """Writes croissant.json for all files that lie in its folder, and reads it back with mlcroissant.

    Args:
        path: the file to write.
        described: the pairs and what is said about them.
        archives: names of the archives of the `images` and of the `labels`.

    Raises:
        InputError: mlcroissant is not installed.
        mlcroissant.ValidationError: what was written is no valid description.
    """
    mlc, citation = mlcroissant(), described.citation
    files = [
        mlc.FileObject(
            id=file.name,
            name=file.name,
            content_url=file.name,
            content_size=f"{file.stat().st_size} B",
            encoding_formats=[_TYPES[file.suffix]],
            sha256=sha256(file),
        )
        for file in sorted(path.parent.iterdir())
    ]
    file_sets = [
        mlc.FileSet(
            id=f"{kind}-png",
            name=f"{kind}-png",
            contained_in=[archive],
            encoding_formats=["image/png"],
            includes=["*.png"],
        )
        for kind, archive in archives.items()
    ]
    metadata = mlc.Metadata(
        name=citation.title,
        description=f"{len(described.pairs)} pairs of 96x96 pixels. {described.origin} {described.warning}".strip(),
        cite_as=citation.text,
        creators=[(mlc.Person if "," in name else mlc.Organization)(name=name) for name in citation.creators],
        date_published=datetime.combine(citation.published, time.min),
        license=[citation.license_address],
        url=citation.url,
        version=citation.version,
        keywords=["TOF-MRA", "vessel segmentation", "brain", f"{described.clearance.kind} data"],
        data_collection=described.origin,
        data_use_cases=[USES],
        data_limitations=list(LIMITS),
        personal_sensitive_information=_privacy(described),
        distribution=[*files, *file_sets],
        record_sets=[_record_set(mlc, kind) for kind in archives],
    )
    path.write_text(json.dumps(metadata.to_json(), indent=2) + "\n", encoding="utf-8")
    mlc.Dataset(jsonld=str(path))


def _privacy(described: Described) -> list[str]:
    """Returns sentences on what the pairs may tell about patients."""
    said = described.clearance.said or {}
    summary = said.get("summary") if described.override else said
    return [
        *filter(None, [described.privacy, described.override]),
        *([f"Audit: {in_words(summary)}."] if summary else []),
    ]


def _record_set(mlc: Any, kind: str) -> Any:
    """Returns the record set of the `images` or the `labels`: name and PNG of each."""

    def source(file_property: Any, **more: Any) -> Any:
        return mlc.Source(file_set=f"{kind}-png", extract=mlc.Extract(file_property=file_property), **more)

    name = source(mlc.FileProperty.filename, transforms=[mlc.Transform(regex=r"^(.+)\.png$")])
    return mlc.RecordSet(
        id=kind,
        name=kind,
        description=f"The {kind} of the pairs. The image and the label of a pair have the same name.",
        key=[f"{kind}/name"],
        fields=[
            mlc.Field(
                id=f"{kind}/name",
                name="name",
                description="Name of the pair.",
                data_types=[mlc.DataType.TEXT],
                source=name,
            ),
            mlc.Field(
                id=f"{kind}/png",
                name="png",
                description=PNG_VALUES[kind.removesuffix("s")],
                data_types=[mlc.DataType.IMAGE_OBJECT],
                source=source(mlc.FileProperty.content),
            ),
        ],
    )
