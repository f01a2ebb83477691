#!/bin/sh
# itk 5.4.7: `import itk` cuts file, line and category off the warnings of every library
#
# Expected: importing a library leaves the warnings of others as they are: file, line, category, text, one line each.
# Seen: `import itk` replaces Python's warnings.formatwarning for the whole process by a function that returns the text
#   alone. So a warning of NumPy, after the import, tells neither where it comes from nor that it is a warning. A program
#   that never names ITK is changed, too: monai 1.6.1 imports itk with monai.transforms, where it is installed.
# Versions: itk-core 5.4.7, numpy 2.4.6.
# Who is hurt: who reads a log of a program that reads DICOM by ITK, and whoever searches such logs for "Warning".
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "itk-core==5.4.7" "numpy==2.4.6"
cd "$work"
cat >warn.py <<'EOF'
import sys
if "itk" in sys.argv:
    import itk
import numpy as np
np.mean(np.zeros(0))
EOF
env/bin/python warn.py 2>plain.txt
env/bin/python warn.py itk 2>cut.txt
echo "before:" && cat plain.txt
echo "after import itk:" && cat cut.txt
python3 - <<'EOF'
plain, cut = open("plain.txt").read(), open("cut.txt").read()
is_whole = plain.count("RuntimeWarning: ") >= 2 and plain.count("\n") >= 2
if not is_whole or "Warning" in cut or ".py" in cut or "Mean of empty slice\n" not in cut:
    raise SystemExit("the behaviour has changed")
print("as described")
EOF
