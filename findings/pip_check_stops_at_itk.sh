#!/bin/sh
# itk 5.4.7 with pip 24.3 to 26.3: one wheel's tag makes `pip check` stop for the whole environment
#
# Expected: `pip check` lists broken requirements and exits 0 or 1. A wheel that pip itself chose, downloaded and
#   installed a moment ago is one that pip can check.
# Seen: the metadata of the wheel `itk` (not those of itk-core and the others) names the tag with the package and
#   version before it, "itk-5.4.7-cp311-abi3-manylinux_2_28_x86_64". Installing does not read that line; `pip check`
#   does and ends with a traceback: ValueError up to pip 26.1, InvalidTag in 26.3. `pip list` and `pip show` work.
#   (Installed here with --no-deps to save time; with all of itk it is the same.)
# Versions: itk 5.4.7 for Linux, pip 24.3.1 and 26.3.
# Who is hurt: a CI step `pip check` fails in every environment with itk, and the real conflict next to it is never
#   listed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
pip="$work/env/bin/python -m pip"
attempt() {
    status=0
    $pip check > "$work/log" 2>&1 || status=$?
    echo "pip $($pip --version | cut -d' ' -f2), $1: exit $status, $(tail -n 1 "$work/log" | cut -c1-110)"
}
for version in 24.3.1 26.3; do
    $pip install -q "pip==$version"
    $pip uninstall -q -y itk 2> /dev/null || true
    attempt "no itk"
    [ "$status" = 0 ] || { echo "pip check fails without itk" >&2; exit 1; }
    $pip install -q --no-deps "itk==5.4.7"
    attempt "itk 5.4.7"
    grep -q Traceback "$work/log" && grep -Eq "too many values|three components" "$work/log" ||
        { echo "changed: pip $version no longer stops at the tag of itk" >&2; exit 1; }
done
grep -h "^Tag:" "$work"/env/lib/python3*/site-packages/itk-5.4.7.dist-info/WHEEL
echo "as described"
