"""A small audit in which nothing was found, written by hand for the tests of the rule and of the gate."""

from __future__ import annotations

import copy
from typing import Any

from tofgan_monai.audit.verdict import MIN_PAIRS, MIN_PATIENTS

SHA256 = "ab" * 32
DATA_ATTACKS = ("nearest image", "GAN-Leaks label")


def interval(value: float, half: float = 0.1, n: int = 80) -> dict[str, Any]:
    return {"value": value, "low": round(value - half, 6), "high": round(value + half, 6), "n": n}


def risk(auc: float = 0.5, half: float = 0.1) -> dict[str, Any]:
    return {
        "auc": interval(auc, half),
        "advantage": interval(0.1),
        "tpr": {"0.01": None, "0.1": interval(0.1)},
        "epsilon": 0.0,
        "epsilon_ceiling": 2.1,
        "n_members": 40,
        "n_non_members": 40,
    }


def attack(name: str, release: str, strangers: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "release": release,
        "patch": risk(0.51, 0.03),
        "patient": risk(0.52),
        "member_only": {"patch": risk(0.49), "patient": risk(0.47, 0.2)},
        "strangers": {"patch": risk(0.5), "patient": risk(0.5)} if strangers else None,
        "excess": {"patch": interval(0.01), "patient": interval(0.02)} if strangers else None,
        "roc": [[0.0, 0.0], [0.4, 0.5], [1.0, 1.0]],
    }


def cohort(patients: int) -> dict[str, Any]:
    return {"patients": patients, "pairs": 50 * patients, "digest": "0123456789abcdef", "kind": "real"}


def audit(kind: str = "generator", sha256: str = SHA256) -> dict[str, Any]:
    """An audit of just enough patients that passes for its release."""
    attacks = [attack(name, "data") for name in DATA_ATTACKS]
    if kind == "generator":
        attacks.append(attack("latent recovery", "generator", strangers=False))
    if kind == "segmentation":
        attacks = [attack(name, "network", strangers=name != "LiRA") for name in ("loss", "confidence", "LiRA")]
    on_data = kind != "segmentation"
    stack = {"digest": "0" * 16, "n": MIN_PAIRS, "seed": 3, "label_threshold": 0.0, "weights_sha256": sha256}
    made = {
        "format": 1,
        "target": {
            "kind": kind,
            "bundle": None,
            "weights_sha256": None if kind == "stack" else sha256,
            "stack": stack if on_data else None,
        },
        "cohorts": {"members": cohort(MIN_PATIENTS), "non_members": cohort(MIN_PATIENTS), "references": cohort(10)},
        "training_checked": True,
        "guarantee": {"epsilon": 7.4, "delta": 1e-5, "unit": "patient", "n_units": 200, "accountant": "PRV"},
        "power": {
            "detectable_auc": 0.7,
            "required_patients": {"auc": 0.75, "patients": MIN_PATIENTS},
            "n_attacks": len(attacks),
        },
        "attacks": attacks,
        "planted": {"n": 20, "attacks": {name: {"auc": interval(1.0, 0), "caught": True} for name in DATA_ATTACKS}},
        "canary": {
            "times": 50,
            "repeats": [{"above_all": True, "rank": 1, "of": 41, "attack": "nearest image"} for _ in range(3)],
        },
        "copies": {
            "threshold": {"image": 0.93, "label": 0.95},
            "n_copies": 0,
            "n_near_copies": 2,
            "n_expected": 1.5,
            "p": 0.4,
            "near_copies": [4, 60],
            "nndr": {"median": 0.9},
            "authenticity_pct": 91.2,
            "mifid": {},
            "closest": [{"synthetic": 4, "member": 12, "similarity": 0.94, "channel": "image", "flip": "none"}],
        },
        "quality": {"frechet": 3.0},
    }
    if not on_data:
        made["planted"] = made["copies"] = made["quality"] = None
    return made


def changed(content: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    """The audit with another value at a path of keys and indices."""
    content = copy.deepcopy(content)
    part: Any = content
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return content
