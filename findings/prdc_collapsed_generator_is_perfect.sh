#!/bin/sh
# prdc 0.2: one image repeated has precision, density and coverage of 1 or more; an exact copy of real data has 0.5
#
# Expected: coverage is the measure of the four that finds a generator which has collapsed (it counts the real
#   samples that have a generated one near), and a copy of the real set has precision and coverage 1.
# Seen: (1) in 64 dimensions the mean of the real features lies inside nearly every sample's neighbourhood: 1000 copies
#   of that single vector score precision 1.0, coverage 1.0 and density above 100; only recall is 0. In 2
#   dimensions the same collapse is found (coverage below 0.1). (2) Half of the real vectors equal (blank patches all
#   have the same features): their radius is 0, the comparison is strict, and the real set compared with itself has
#   precision, recall and coverage of 0.5.
# Versions: prdc 0.2, scikit-learn 1.9.1, numpy 2.4.6.
# Who is hurt: whoever chooses a GAN by coverage or density takes the collapsed one; whoever has blank patches in the
#   data sees a ceiling of 0.5 that no generator can pass, nearer to the truth the fewer blanks it makes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "prdc==0.2" "scikit-learn==1.9.1" "numpy==2.4.6" "scipy==1.17.1"
"$work/env/bin/python" - <<'EOF'
import numpy as np
from prdc import compute_prdc

rng = np.random.default_rng(0)


def measure(name, real, fake):
    values = compute_prdc(real, fake, nearest_k=5)
    print(name, {key: round(float(value), 3) for key, value in values.items()})
    return {key: float(value) for key, value in values.items()}


deep, flat = rng.normal(size=(1000, 64)), rng.normal(size=(1000, 2))
good = measure("64 dimensions, a generator with the right distribution:", deep, rng.normal(size=(1000, 64)))
one = measure("64 dimensions, the mean repeated:", deep, np.repeat(deep.mean(0, keepdims=True), 1000, 0))
two = measure("2 dimensions, the mean repeated:", flat, np.repeat(flat.mean(0, keepdims=True), 1000, 0))
blank = deep.copy()
blank[:500] = 0
copy = measure("half of the real data blank, compared with itself:", blank, blank)
same = measure("no blanks, compared with itself:", deep, deep)
ok = one["coverage"] > 0.99 >= good["coverage"] - 0.05 and one["precision"] == 1 and one["density"] > 50
ok = ok and two["coverage"] < 0.1 and copy["precision"] == copy["coverage"] == 0.5 and same["coverage"] == 1
raise SystemExit(None if ok else "changed: prdc rates collapse or equal samples in another way")
EOF
echo "as described"
