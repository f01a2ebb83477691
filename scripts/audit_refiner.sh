#!/usr/bin/env bash
# Audits a training of tof_mra_refiner on 60 simulated patients that count as real, by rule 2 (docs/decisions/0003-release-gate.md),
# with 60 held-out patients, 20 references and two canaries; about an hour of a core. Every step is skipped if its output exists.
#   bash scripts/audit_refiner.sh WORK
# Fixed before the first look: the heads' seeds (positions 4000 to 4139 of those for weights), 50 pairs of each, 600 steps, the epoch
# by the validation, 2,000 pairs, canaries of the seeds 1 and 2, all attacks that `tofgan audit` has. docs/results tells the one look.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
work=$(realpath -m "${1:?usage: bash scripts/audit_refiner.sh WORK}")
mkdir -p "$work" && cd "$work"

[ -e heads ] || tofgan phantom heads --site A --small -n 140 --seeds weights --start 4000
[ -e patients ] || "$PYTHON" - <<'END'
from pathlib import Path

import nibabel as nib

for path in Path("heads").rglob("*.nii.gz"):  # the same voxels in the same place; without the mark in the header they count as real
    volume = nib.load(path)
    (new := Path("patients") / path.relative_to("heads")).parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume.dataobj.get_unscaled(), volume.affine), new)
END
[ -e cohort.json ] || tofgan check patients cohort.json --counts 60,20,60 --n-vessel 25
[ -e prepared ] || tofgan prepare cohort.json prepared --skull-strip given
split=(members training references validation non_members test)
for i in 0 2 4; do
    [ -e "${split[i]}.npy" ] || tofgan extract prepared "${split[i]}.npy" --split "${split[i + 1]}" --n-vessel 25 --n-random 25
done

train=(train tof_mra_refiner --validation-pairs references.npy --small true --max_epochs 6)
tofgan "${train[@]}" --pairs members.npy --output-dir run
[ -e refiner ] || cp -r "$OLDPWD/bundles/tof_mra_refiner" refiner
tofgan adopt run ./refiner --validation-pairs references.npy
canaries=()
for seed in 1 2; do
    [ -e "canary_$seed.npy" ] || tofgan canary members.npy "canary_$seed.npy" --seed "$seed"
    tofgan "${train[@]}" --pairs "canary_$seed.npy" --output-dir "canary_$seed"
    canaries+=(--canary "canary_$seed.npy" --canary-run "canary_$seed")
done
tofgan audit ./refiner audit --members members.npy --non-members non_members.npy --references references.npy --run run "${canaries[@]}"
