"""Writes the dataset card, README.md: how the pairs were made, what they are good for, and what the audit found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tofgan_monai.audit.verdict import verdicts
from tofgan_monai.exchange.data_card import in_words
from tofgan_monai.exchange.dataset.citation import Citation
from tofgan_monai.exchange.dataset.clearance import Clearance
from tofgan_monai.metrics.stacks.vessels import STATISTICS, vessel_statistics

USES = (
    "Research on the segmentation of brain vessels: training and pre-training of networks, comparison of methods, "
    "teaching."
)
NO_USES = (
    "Diagnosis, or any decision about a patient.",
    "Statements about anatomy or about how often something occurs.",
    "Attempts to recognise a patient.",
)
LIMITS = (
    "Patches of 96x96 pixels of axial slices, not volumes: neighbouring slices of a patch are missing.",
    "Each image is scaled by itself to [-1, 1]; the scanner's intensities are lost.",
    "No person has drawn or checked the labels.",
)
OF_ANATOMY = "An artery, a variant or an illness that the simulation does not draw is in no pair."
_N_MEASURED = 500  # pairs of which the vessels are measured


@dataclass(frozen=True)
class Described:
    """A stack and everything that is said about it.

    Attributes:
        pairs: the pairs (n, 2, 96, 96).
        manifest: the manifest that is released with them.
        clearance: what is known about their origin.
        citation: what the user states.
    """

    pairs: np.ndarray
    manifest: Mapping[str, Any]
    clearance: Clearance
    citation: Citation

    @property
    def origin(self) -> str:
        """One sentence on how the pairs were made."""
        if self.clearance.kind == "simulated":
            return "The pairs were cut from simulated heads. No patient's data went into them."
        seen = in_words(self.clearance.seen)
        if self.manifest.get("anatomy") == "simulated":
            made = "Anatomy and labels of the pairs are simulated. A network gave the images the look of scans"
            return f"{made}; it was trained on {seen}."
        return f"A generative network made the pairs from random numbers. It was trained on {seen}."

    @property
    def limits(self) -> tuple[str, ...]:
        """What the pairs cannot be used for or do not show, a sentence each."""
        return (*LIMITS, OF_ANATOMY) if self.manifest.get("anatomy") == "simulated" else LIMITS

    @property
    def warning(self) -> str:
        """One sentence for pairs behind which there is no patient; empty for others."""
        if self.clearance.behind:
            return ""
        return "These pairs imitate a simulation, not patients: a network needs data of patients before it is of use."

    @property
    def privacy(self) -> str:
        """One sentence for pairs behind which there is no patient; empty for others."""
        if self.clearance.behind:
            return ""
        if self.clearance.kind == "simulated":
            return "The pairs tell nothing about any patient: the heads were simulated, and no audit is needed."
        said = "The data card of the generator says that no patient's data were used"
        return f"{said}, neither for it nor for what it learnt from."

    @property
    def override(self) -> str:
        """One sentence with the reason of a person who released the pairs; empty if the release needed no person."""
        said = self.clearance.said or {}
        if "overridden" not in said:
            return ""
        how = "although the audit did not pass" if said["summary"] else "without an audit"
        return f'A person released these pairs {how}, for this reason: "{said["reason"]}"'


def dataset_card(described: Described, sizes: Mapping[str, int], license_url: str) -> str:
    """Returns the text of README.md, in Markdown.

    Args:
        described: the pairs and what is said about them.
        sizes: size in bytes of each file of the dataset, by its name.
        license_url: address of the licence, or its expression.
    """
    said, audit = described.clearance.said or {}, described.clearance.audit
    return _template().render(
        about=described,
        clearance=described.clearance,
        citation=described.citation,
        manifest=described.manifest,
        n=len(described.pairs),
        vessel_share=float((described.pairs[:, 1] > 0).mean()),
        vessels=_vessels(described.pairs),
        sizes=sizes,
        license_url=license_url,
        reasons=verdicts(audit.content)["data"]["reasons"] if audit else (),
        summary=said.get("summary") if "overridden" in said else said or None,
        uses=USES,
        no_uses=NO_USES,
    )


def _vessels(pairs: np.ndarray) -> dict[str, tuple[float, str]]:
    """Returns mean and unit of each statistic of the vessels in at most 500 pairs, spread evenly over the stack."""
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(_N_MEASURED, len(pairs))).astype(int))
    found = vessel_statistics(np.asarray(pairs[chosen]), name="the dataset")
    return {one.name: (float(np.mean(found[one.name])), one.unit) for one in STATISTICS if len(found[one.name])}


def _template() -> Any:
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=templates, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("README.md")
