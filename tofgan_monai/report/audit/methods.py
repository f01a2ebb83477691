"""How an audit was made: each attack in a sentence with its source, and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NEAREST = (
    "how similar the stack's most similar {what} is, by normalised cross-correlation over shifts of up to 16 pixels, "
    "mirrorings and any linear contrast",
    "Chen et al. 2020, GAN-Leaks, arXiv:1909.03935, section 4.2, with another distance",
)
LEAKS = (
    "the same for {what}s, less what reference patients explain: a plain patch is similar to everything",
    "Chen et al. 2020, GAN-Leaks, arXiv:1909.03935, section 4.5, calibrated by reference patients themselves",
)
ATTACKS: dict[str, tuple[str, str]] = {
    "nearest image": (NEAREST[0].format(what="image"), NEAREST[1]),
    "nearest label": (NEAREST[0].format(what="label map") + "; a vessel tree is a fingerprint", NEAREST[1]),
    "GAN-Leaks image": (LEAKS[0].format(what="image"), LEAKS[1]),
    "GAN-Leaks label": (LEAKS[0].format(what="label map"), LEAKS[1]),
    "Monte Carlo": (
        "how many synthetic pairs lie close to the patch, closer ones counting more, in principal components",
        "Hilprecht et al. 2019, PoPETs 2019(4), 232-249, arXiv:1906.03006, the median heuristic",
    ),
    "density ratio": (
        "how dense the synthetic pairs are about the patch, over how dense reference patients' are, by kernel "
        "estimates in principal components",
        "van Breugel et al. 2023, DOMIAS, arXiv:2302.12580",
    ),
    "latent recovery": (
        "how well the generator makes the patch if its latent vector is optimised for it",
        "Chen et al. 2020, arXiv:1909.03935, section 4.3; Webster et al. 2019, arXiv:1901.03396",
    ),
    "LOGAN": ("how real the critic takes the patch for", "Hayes et al. 2019, LOGAN, arXiv:1705.07663"),
    "loss": ("how low the network's loss is on the patch", "Yeom et al. 2018, arXiv:1709.01604"),
    "confidence": ("how sure, and right, the network is", "Song and Mittal 2021, arXiv:2003.10595"),
    "LiRA": (
        "how much surer the network is of the patch than networks that never saw it",
        "Carlini et al. 2022, arXiv:2112.03570, offline",
    ),
}


@dataclass(frozen=True)
class Method:
    """A method: its name, what it does and where it is from."""

    name: str
    does: str
    source: str


def methods(audit: dict[str, Any]) -> list[Method]:
    """The audit's attacks, a score each: higher is more like a member."""
    return [Method(name, *ATTACKS.get(name, ("", ""))) for name in (attack["name"] for attack in audit["attacks"])]


def settings(audit: dict[str, Any]) -> dict[str, str]:
    """What identifies the audit: rule, weights, stack and cohorts by their digests, where it has these."""
    target, stack = audit["target"], audit["target"].get("stack") or {}
    rules = sorted({verdict["rule"] for verdict in audit["verdicts"].values() if verdict})
    found = {
        "Format of audit.json": audit["format"],
        "Rule of the verdicts": ", ".join(map(str, rules)),
        "Attacks judged together": audit["power"]["n_attacks"],
        "Weights, SHA-256": target.get("weights_sha256"),
        "Stack": stack.get("digest"),
        "Stack's weights, SHA-256": stack.get("weights_sha256"),
        **{
            f"Cohort, {name.replace('_', '-')}": cohort.get("digest")
            for name, cohort in audit["cohorts"].items()
            if cohort
        },
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}
