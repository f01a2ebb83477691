"""How often the release gate stops an audit in which there is nothing to find (docs/decisions/0003-release-gate.md).

    python scripts/measure_gate.py      # about 2 minutes

Six attacks guess; their scores of a patient are correlated by 0.5, as they look at the same patch.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from tofgan_monai.privacy.risk import assess
from tofgan_monai.privacy.verdict import WORST_AUC, corrected

N_AUDITS, N_ATTACKS = 200, 6


def main() -> None:
    """Prints a row for each number of patients."""
    print("members  failed by an attack  AUC of 0.75 not excluded")
    for n in (31, 40, 60):
        shared, own = np.random.default_rng(n).normal(size=(2, N_AUDITS, N_ATTACKS, 2 * n))
        patients = np.arange(2 * n)
        failed = open_ = 0
        for audit in np.sqrt(0.5) * (shared[:, :1] + own):
            aucs = [assess(scores, patients, patients < n, n_resamples=1000)["patient"].auc for scores in audit]
            failed += any(corrected(asdict(auc), N_ATTACKS)[0] > 0.5 for auc in aucs)
            open_ += any(auc.high > WORST_AUC for auc in aucs)
        print(f"{n:7}  {failed / N_AUDITS:19.3f}  {open_ / N_AUDITS:24.3f}", flush=True)


if __name__ == "__main__":
    main()
