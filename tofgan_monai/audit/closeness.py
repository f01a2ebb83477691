"""The copy search of a whole stack, and pictures of the closest pairs, which stay at the clinic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.copies import authenticity_pct, copies
from tofgan_monai.attacks.on_pairs import search
from tofgan_monai.attacks.similarity import CHANNELS, nearest
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.files import written_whole


def search_copies(stack: np.ndarray, cohorts: Cohorts) -> dict[str, Any]:
    """What `privacy.copies` finds in the stack, and of each closest pair the most similar non-member's pair, too."""
    members, others = cohorts.members, cohorts.non_members
    to_members = {channel: search(stack, members.pairs, channel) for channel in CHANNELS}
    to_others = {channel: search(stack, others.pairs, channel) for channel in CHANNELS}
    among = nearest(members.pairs[:, 0], members.pairs[:, 0], patients=(members.patients,) * 2, channel="image")
    found = copies(to_members, to_others, (members.patients, others.patients))
    for entry in found["closest"]:
        entry["non_member"] = int(to_others[entry["channel"]].item[entry["synthetic"], 0])
    return {**found, "authenticity_pct": authenticity_pct(to_members["image"], among)}


def save_pictures(path: Path, found: dict[str, Any], stack: np.ndarray, cohorts: Cohorts) -> None:
    """Of each closest pair the synthetic one, the member's and the non-member's, (k, 2, 96, 96) each."""
    closest = found["closest"]
    sources = {"synthetic": stack, "member": cohorts.members.pairs, "non_member": cohorts.non_members.pairs}
    pictures = {name: np.stack([pairs[entry[name]] for entry in closest]) for name, pairs in sources.items()}
    with written_whole(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **pictures)  # type: ignore[arg-type]
