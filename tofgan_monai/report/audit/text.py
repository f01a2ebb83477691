"""The words of an audit's page that depend on what was found: for a reader who has never heard of an AUC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tofgan_monai.report.tables import MINUS, fixed

TITLES = {
    "generator": "Privacy audit of a generator",
    "stack": "Privacy audit of synthetic pairs",
    "segmentation": "Privacy audit of a segmentation network",
}
RELEASE_TITLES = {
    "data": "Releasing the synthetic pairs",
    "generator": "Releasing the generator",
    "critic": "Releasing the critic",
    "network": "Releasing the segmentation network",
}
ATTACKED = {"data": "the pairs", "generator": "the generator", "critic": "the critic", "network": "the network"}
# By kind of target, the releases that a reader asks about, whether attacked or not.
ASKED = {
    "generator": ("data", "generator", "critic"),
    "stack": ("data", "generator", "critic"),
    "segmentation": ("network",),
}
SIGNS = {
    "passed": (
        "Passed",
        "No attack recognised the training patients, and the controls show that these attacks can see.",
    ),
    "failed": ("Failed", "Something of the training patients was found. This audit speaks against the release."),
    "inconclusive": ("Inconclusive", "This audit cannot say. That nothing was found is no evidence here."),
    "never": ("Never", "It was shown the patients themselves. It does not leave, whatever an attack on it found."),
    "missing": ("Not audited", "No attack of this audit was made on it: nothing is known."),
}
MAX_REASONS = 4  # on the first page
COHORTS = {"members": "training patients", "non_members": "held-out patients", "references": "reference patients"}
CHANNELS = {"image": "images", "label": "label maps"}


@dataclass(frozen=True)
class Card:
    """A verdict on the first page.

    Attributes:
        release: its key.
        title: what would be released.
        sign: a key of SIGNS; colour, word and symbol.
        word: the sign in a word.
        sentence: what it means.
        reasons: all of them.
    """

    release: str
    title: str
    sign: str
    word: str
    sentence: str
    reasons: list[str]

    @property
    def first_reasons(self) -> list[str]:
        """Those for the first page."""
        return self.reasons[:MAX_REASONS]

    @property
    def n_more(self) -> int:
        """How many are told further down only."""
        return len(self.reasons) - len(self.first_reasons)


def title(audit: dict[str, Any]) -> str:
    """The page's title, with the bundle's name if it has one."""
    target = audit["target"]
    bundle = f": {target['bundle']}" if target.get("bundle") else ""
    return TITLES.get(target["kind"], "Privacy audit") + bundle


def subject(audit: dict[str, Any]) -> str:
    """What was audited, on how many patients, and what was asked: the top of the page."""
    n_members, n_others = (audit["cohorts"][name]["patients"] for name in ("members", "non_members"))
    pairs, trained = _pairs(audit["target"].get("stack")), f"trained on {n_members:,} patients"
    audited = {
        "generator": f"A generator {trained}" + (f", and {pairs} that it made" if audit["target"].get("stack") else ""),
        "segmentation": f"A vessel segmentation network {trained}",
    }.get(audit["target"]["kind"], f"{pairs[:1].upper()}{pairs[1:]} of a generator {trained}")
    n = len(audit["attacks"])
    return (
        f"{audited}. Can somebody who holds a patient's scan tell whether that patient was among them? "
        f"{n} {'attack was' if n == 1 else 'attacks were'} tried on these patients and on {n_others:,} others of the "
        "same site, who were held out."
    )


def facts(audit: dict[str, Any]) -> dict[str, str]:
    """What was audited, of whom and how, a line each."""
    cohorts = audit["cohorts"]
    groups = "; ".join(_cohort(cohorts[name], words) for name, words in COHORTS.items() if cohorts.get(name))
    return {
        "Audited": _audited(audit["target"]),
        "Patients": f"{groups}; {_apart(audit)}",
        "Attacks": _attacks(audit["attacks"]),
        "Differential privacy": guarantee(audit.get("guarantee")),
    }


def _pairs(stack: dict[str, Any] | None) -> str:
    return f"{stack['n']:,} synthetic image-label pairs" if stack else "synthetic image-label pairs"


def _audited(target: dict[str, Any]) -> str:
    stack, weights = target.get("stack"), _weights(target.get("weights_sha256"))
    pairs = _pairs(stack)
    if stack:
        threshold = fixed(stack["label_threshold"], 2).replace("-", MINUS)
        seed = f"seed {stack['seed']}, " if stack.get("seed") is not None else ""
        pairs += f" ({seed}label threshold {threshold})"
    if target["kind"] == "segmentation":
        return f"a vessel segmentation network{weights}"
    if target["kind"] == "generator":
        return f"a generator{weights}" + (f", and {pairs} that it made" if stack else "")
    return pairs + _weights((stack or {}).get("weights_sha256"))


def _weights(sha256: str | None) -> str:
    return f", weights {sha256[:12]}" if sha256 else ""


def _cohort(cohort: dict[str, Any], words: str) -> str:
    return f"{cohort['patients']:,} {words} ({cohort['pairs']:,} pairs)"


def _apart(audit: dict[str, Any]) -> str:
    """What is known of whether the groups are of different patients."""
    if audit.get("volumes_compared"):
        return "no scan is in two groups (whether two scans are of one patient was not checked)"
    return (
        "no pair is in two groups (whether two groups have a patient in common was not checked: a stack does not tell "
        "its scans)"
    )


def _attacks(attacks: list[dict[str, Any]]) -> str:
    counts = {words: sum(a["release"] == release for a in attacks) for release, words in ATTACKED.items()}
    return f"{len(attacks)} in all: " + ", ".join(f"{n} on {words}" for words, n in counts.items() if n)


def guarantee(found: dict[str, Any] | None) -> str:
    """The differential-privacy guarantee of the training in a sentence."""
    if not found:
        return "none: the training gives no mathematical guarantee, and the attacks are all that is known"
    units = "patients" if found["unit"] == "patient" else "patches"
    words = (
        f"the training guarantees \u03b5 = {found['epsilon']:.3g} at \u03b4 = {_power_of_ten(found['delta'])}, for one "
        f"{found['unit']}, there or not, among {found['n_units']:,} {units} ({found['accountant']} accountant)"
    )
    if found["unit"] == "patch":
        words += "; a patient has many patches, so for a patient the guarantee is far weaker"
    return words


def _power_of_ten(value: float) -> str:
    return f"{value:.1g}".replace("e-0", "e-").replace("-", MINUS)


def simulated(audit: dict[str, Any]) -> str:
    """Which patients are simulated; empty if none."""
    made = [words for name, words in COHORTS.items() if (audit["cohorts"].get(name) or {}).get("kind") == "simulated"]
    n_cohorts = sum(bool(audit["cohorts"].get(name)) for name in COHORTS)
    if not made:
        return ""
    if len(made) == n_cohorts:
        return (
            "All patients are simulated: the page shows what the audit finds on phantoms, and nobody's data is at risk."
        )
    return f"Simulated, and no patients: the {' and the '.join(made)}. The verdicts hold for no real release."


def cards(audit: dict[str, Any]) -> list[Card]:
    """A verdict for each release that a reader asks about; the critic never leaves, whatever was found."""
    verdicts = audit["verdicts"]
    asked = dict.fromkeys(
        [*ASKED.get(audit["target"]["kind"], ()), *(name for name in RELEASE_TITLES if verdicts.get(name))]
    )
    return [_card(release, verdicts.get(release)) for release in asked]


def _card(release: str, verdict: dict[str, Any] | None) -> Card:
    reasons = [reason[:1].upper() + reason[1:] for reason in (verdict or {}).get("reasons", ())]
    sign = "never" if release == "critic" else verdict["outcome"] if verdict else "missing"
    return Card(release, RELEASE_TITLES[release], sign, *SIGNS[sign], reasons)


def blind_spots(audit: dict[str, Any]) -> Iterator[str]:
    """What the audit cannot tell, what weighs most first."""
    members, others = (audit["cohorts"][name]["patients"] for name in ("members", "non_members"))
    power = audit["power"]
    required = power["required_patients"]
    if min(members, others) < required["patients"]:
        yield (
            f"Too few patients: to see an attack of AUC {required['auc']:.2f} it takes {required['patients']} training "
            f"and as many held-out patients; here are {members} and {others}. A quiet audit of so few means nothing."
        )
    yield (
        f"Weak leaks: with {members} training and {others} held-out patients an attack of AUC "
        f"{power['detectable_auc']:.2f} is noticed in 8 of 10 audits, a weaker one less often."
    )
    if not (audit.get("canary") or {}).get("repeats"):
        yield (
            "Whether these attacks notice what this kind of training memorises: no training with one patient repeated "
            "many times (a canary) was tried."
        )
    yield "Other attacks: only those named here were made. Better ones may come, and a release cannot be called back."
    yield (
        "Other releases: the verdicts hold for these very weights and pairs, not for more pairs, another seed or "
        "another training."
    )
    yield (
        "What else could be learnt of a patient, such as age or disease, or by linking with other sources: it was not "
        "tried."
    )


def copies_words(copies: dict[str, Any] | None) -> str:
    """How many near-copies there are, beside chance; empty if nobody searched."""
    if not copies:
        return ""
    n, given = copies["n_near_copies"], copies["threshold"]
    thresholds = given if isinstance(given, dict) else {"image": given}
    least = " and ".join(f"{fixed(value, 2)} of the {CHANNELS[channel]}" for channel, value in thresholds.items())
    p = f" (p {copies['p']:.2g}, each patient counting once)" if copies.get("p") is not None else ""
    n_copies = copies.get("n_copies", 0)
    found = f"{n_copies:,} synthetic {'pair copies' if n_copies == 1 else 'pairs copy'} a training pair. "
    return (found if n_copies else "") + (
        f"{n:,} synthetic {'pair is a near-copy' if n == 1 else 'pairs are near-copies'} of a training pair "
        f"(similarity above {least}); {copies['n_expected']:.3g} are expected by chance{p}, going by held-out "
        "patients, of whom the generator can have copied nothing."
    )


def closest_words(pair: dict[str, Any]) -> str:
    """A closest pair in words: how similar, in which channel, shifted and mirrored how."""
    words = f"Similarity {fixed(pair.get('similarity'), 2)} of the {CHANNELS[pair['channel']]}"
    if pair.get("shift") is not None and any(pair["shift"]):
        down, right = pair["shift"]
        words += f", shifted by {down} and {right} pixels".replace("-", MINUS)
    if pair.get("flip", "none") != "none":
        words += f", mirrored ({pair['flip']})"
    return f"{words}. Synthetic pair {pair['synthetic']}, training pair {pair['member']}."
