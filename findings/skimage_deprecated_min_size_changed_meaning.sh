#!/bin/sh
# scikit-image 0.26: the deprecated min_size of remove_small_objects has silently taken the meaning of max_size
#
# Expected: a deprecated parameter works as before until it goes. The warning says so itself: "the new threshold removes
#   objects smaller than or equal to its value, while the previous parameter only removed smaller ones".
# Seen: remove_small_objects(min_size=5), by keyword or position, keeps an object of 5 voxels in 0.25.2, removes it in
#   0.26.0, where it is the same as max_size=5; only max_size=4 gives the old result. remove_small_holes likewise
#   fills a hole of exactly area_threshold.
# Versions: scikit-image 0.26.0 against 0.25.2, numpy 2.4.6.
# Who is hurt: the same call gives other masks after an upgrade, and whoever follows the warning corrects by one twice
#   or not at all. MONAI 1.6.1's RemoveSmallObjects ("smaller than this size are removed"; not run here) hands its
#   min_size on by position, so it takes objects of exactly that size too, and min_size=1 single-voxel vessel ends.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
cat > "$work/probe.py" <<'EOF'
import sys, warnings
import numpy as np, skimage
from skimage.morphology import remove_small_holes, remove_small_objects

sizes = (1, 4, 5, 6)
image = np.zeros((20, 20, 20), bool)
for row, size in enumerate(sizes):
    image[4 * row + 1, 4 * row + 1, 2 : 2 + size] = True


def left(objects):
    return [size for row, size in enumerate(sizes) if objects[4 * row + 1, 4 * row + 1].any()]


new = skimage.__version__ == "0.26.0"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    seen = {"min_size=5": left(remove_small_objects(image, min_size=5)), "5": left(remove_small_objects(image, 5)),
            "holes, area_threshold=5": left(~remove_small_holes(~image, area_threshold=5))}
    said = sorted({str(warning.message).split("Note that")[-1].strip() for warning in caught})
if new:
    seen["max_size=5"] = left(remove_small_objects(image, max_size=5))
    seen["max_size=4"] = left(remove_small_objects(image, max_size=4))
print("scikit-image", skimage.__version__, "sizes left of", sizes, "by", seen, *said, sep="\n  ")
same = all(seen[key] == ([6] if new else [5, 6]) for key in ("min_size=5", "5", "holes, area_threshold=5"))
ok = same and (not new or (seen["max_size=5"], seen["max_size=4"]) == ([6], [5, 6]) and len(caught) == 3)
sys.exit(None if ok else "changed: min_size has another meaning now")
EOF
for version in 0.25.2 0.26.0; do
    "$work/env/bin/pip" install -q "scikit-image==$version" "numpy==2.4.6" "scipy==1.17.1"
    "$work/env/bin/python" "$work/probe.py"
done
echo "as described"
