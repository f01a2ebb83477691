#!/bin/sh
# import-linter 2.17 (grimp 3.20): contracts are KEPT for modules it never reads and for packages that do not exist
#
# Expected: a forbidden contract on a package covers every module that Python can import from it, and a misspelled
#   package in forbidden_modules is an error, as a misspelled module of one's own package is.
# Seen: (1) modules in a folder without `__init__.py` inside a regular package can be imported, yet they are not in the
#   graph: a forbidden import there is not found, nor is the folder named. Adding an empty `__init__.py` breaks
#   the contract. (2) forbidden_modules = torhc (for torch) is KEPT, with exit 0, though one's own module misspelled in
#   source_modules is refused. (3) a lazy_loader stub is no import: `from pk.high import b` in a .pyi does not count.
# Versions: import-linter 2.17, grimp 3.20.
# Who is hurt: the rule "this package must not import torch at the top" is green for years while it guards nothing.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "import-linter==2.17" "grimp==3.20"
cd "$work"
mkdir -p pk/low/tools pk/high
touch pk/__init__.py pk/low/__init__.py pk/high/__init__.py pk/high/b.py
echo "import pk.high.b" > pk/low/tools/c.py
echo "import torch" > pk/high/t.py
echo "from pk.high import b" > pk/low/stub.pyi
echo "" > pk/low/stub.py
PYTHONPATH=. env/bin/python -B -c "import pk.low.tools.c; print('Python imports pk.low.tools.c')"

check() {  # source, forbidden, expected exit status
    printf '[importlinter]\nroot_package = pk\ninclude_external_packages = True\n' > c.ini
    printf '[importlinter:contract:1]\nname = rule\n' >> c.ini
    printf 'type = forbidden\nsource_modules =\n  %s\nforbidden_modules =\n  %s\n' "$1" "$2" >> c.ini
    PYTHONPATH=. env/bin/lint-imports --config c.ini --no-cache > log 2>&1 && status=0 || status=$?
    echo "$1 must not import $2: exit $status; $(grep -E 'Analyzed|KEPT|BROKEN|does not exist' log | tr '\n' ' ')"
    [ "$status" = "$3" ] || { cat log; echo "changed: exit $status instead of $3" >&2; exit 1; }
}
check pk.low pk.high 0      # broken by pk.low.tools.c and the stub, but not seen
check pk.high torch 1       # seen
check pk.high torhc 0       # no such package, not noticed
check pk.hihg torch 1       # no such module: refused
touch pk/low/tools/__init__.py
check pk.low pk.high 1      # now seen
echo "as described"
