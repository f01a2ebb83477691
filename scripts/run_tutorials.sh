#!/usr/bin/env bash
# Runs the tutorials of docs/ as notebooks and keeps them, with their outputs and figures, in a folder:
#   bash scripts/run_tutorials.sh [FOLDER]      (default: tutorials)
# Their pages are the sources: jupytext makes a cell of each block of python or bash. Jupyter is not in requirements.txt,
# as nothing else needs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
folder=$(realpath -m "${1:-tutorials}")
"$PYTHON" -c 'import jupytext, nbconvert, ipykernel' || fail "The tutorials need Jupyter: run $PYTHON -m pip install jupytext nbconvert ipykernel"

for page in docs/tutorial.md docs/tutorial-one-patient.md; do
    name=$(basename "$page" .md)
    rm -rf "${folder:?}/$name" && mkdir -p "$folder/$name/bin"
    printf '#!/bin/sh\nexec "%s" -m tofgan_monai "$@"\n' "$PYTHON" >"$folder/$name/bin/tofgan"
    chmod +x "$folder/$name/bin/tofgan"
    { # without a kernel's name jupytext would take bash for the language of the notebook
        printf -- '---\njupyter:\n  kernelspec: {name: python3, display_name: Python 3, language: python}\n---\n\n'
        cat "$page"
    } >"$folder/$name/$name.md"
    (cd "$folder/$name" && PATH=$PWD/bin:$PATH "$PYTHON" -m jupytext --to ipynb --execute "$name.md")
done
echo "notebooks: $folder/*/*.ipynb"
