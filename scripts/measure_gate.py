"""Counts the release gate's verdicts on simulated audits in which there is nothing to find.

    python scripts/measure_gate.py      # about 2 minutes

The release gate is the rule that decides from an audit whether a generator may be released, see
docs/decisions/0003-release-gate.md. In the simulated audits, seven attacks guess: six on the generator's pairs and one
on the generator itself. The control of each attack guesses, too. The patient and the patch each contribute half of the
variance of a score. Two attacks' scores of one patch have a correlation of 0.5, because both attacks look at the same
patch. The audits' other checks (copies, planted copies, canary patients) give the right results, so only chance decides
on the verdict.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from tofgan_monai.attacks.risk import assess, excess
from tofgan_monai.audit.verdict import MIN_PAIRS, MIN_PATIENTS, MIN_REFERENCES, N_ATTACKS, verdicts

N_AUDITS, N_PATCHES, N_RESAMPLES = 200, 4, 400  # 4 patches per patient; real audits use more resamples
CAUSES = {"control": "it measures something else", "open": "cannot be excluded"}  # words of a verdict's reasons


def main() -> None:
    """Simulates 200 audits for each number of patients and prints the fractions of each verdict as a table."""
    print("patients  failed  a control fails  0.75 or 0.25 not excluded  passed")
    for n in (MIN_PATIENTS, 40, 60):
        found: Counter[str] = Counter()
        for seed in range(N_AUDITS):
            verdict = verdicts(audit(n, np.random.default_rng([n, seed])))["generator"]
            found[verdict["outcome"]] += 1
            if verdict["outcome"] == "inconclusive":
                found.update(name for name, words in CAUSES.items() if any(words in it for it in verdict["reasons"]))
        shares = [found[name] / N_AUDITS for name in ("failed", *CAUSES, "passed")]
        print("{:8}  {:6.3f}  {:15.3f}  {:25.3f}  {:6.3f}".format(n, *shares), flush=True)


def audit(n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Dict like `audit.json`, for n members and n non-members, in which all attacks guess."""

    def noise() -> np.ndarray:
        return (rng.normal(size=(2 * n, 1)) + rng.normal(size=(2 * n, N_PATCHES))).ravel()

    shared = noise()
    lines = []
    for number in range(N_ATTACKS):
        release = "data" if number else "generator"
        strangers = shared + noise() if number else None
        lines.append({"name": f"attack {number}", "release": release, **found(n, shared + noise(), strangers)})
    return {
        "target": {"kind": "generator", "stack": {"n": MIN_PAIRS}},
        "cohorts": {
            "members": {"patients": n},
            "non_members": {"patients": n},
            "references": {"patients": MIN_REFERENCES},
        },
        "training_checked": True,
        "attacks": lines,
        "planted": {"attacks": {"attack 1": {"caught": True}}},
        "canary": {"times": 50, "repeats": [{"above_all": True, "of": n + 1}] * 2},
        "copies": {"n_copies": 0, "n_near_copies": 0, "n_expected": 0.0, "p": 1.0},
    }


def found(n: int, scores: np.ndarray, strangers: np.ndarray | None) -> dict[str, Any]:
    """Dict of an attack's figures and of its controls' figures, as in `audit.json`.

    Args:
        n: number of members, and of non-members.
        scores: the attack's score for each patch, (2 n x 4,), members first.
        strangers: scores of the control, in which the attack gets pairs of strangers (patients in neither group) in
            place of the released pairs, (2 n x 4,); None if the attack has no such control.
    """
    patients = np.repeat(np.arange(2 * n), N_PATCHES)
    is_member, is_half = patients < n, patients < n // 2

    def plain(of: dict[str, Any]) -> dict[str, Any]:
        return {unit: asdict(value) for unit, value in of.items()}

    def risks(of: np.ndarray, among: np.ndarray, one_group: np.ndarray) -> dict[str, Any]:
        return plain(assess(of[among], patients[among], one_group[among], n_resamples=N_RESAMPLES))

    everyone = np.ones_like(is_member)
    line = {**risks(scores, everyone, is_member), "member_only": risks(scores, is_member, is_half)}
    if strangers is not None:
        line["strangers"] = risks(strangers, everyone, is_member)
        line["excess"] = plain(excess(scores, strangers, patients, is_member, n_resamples=N_RESAMPLES))
    return line


if __name__ == "__main__":
    main()
