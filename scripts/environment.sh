# Sourced by the other scripts, after `cd` to the checkout: sets PYTHON to an interpreter that has everything the project needs.
# It is that of .venv, made here when it is missing, unfinished, moved, or older than requirements.txt or setup.cfg.
#
#   TOFGAN_PYTHON=/path/to/python   uses that environment as it is instead and installs nothing (another torch, say)
#
# pip's own settings hold: on Linux with PIP_EXTRA_INDEX_URL naming PyTorch's index of CPU builds no CUDA is downloaded.

venv=${venv:-$PWD/.venv}
requirements=${requirements:-requirements.txt}

fail() {
    echo "$1" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer with its venv module is needed and not found: install it (on Debian: python3 python3-venv)."
}

wanted_stamp() {
    echo "$venv"
    cat "$requirements" setup.cfg
}

is_whole() {
    [ -x "$venv/bin/python" ] && wanted_stamp | cmp -s - "$venv/tofgan-stamp"
}

install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet "$@"
}

make_environment() {
    if [ -e "$venv" ] && [ ! -e "$venv/tofgan-stamp" ]; then
        fail "$venv was not made by this script: move it away, or set TOFGAN_PYTHON=$venv/bin/python to use it as it is."
    fi
    local python
    python=$(find_python) || exit 1
    echo "Making the environment in $venv (once; about 3 minutes, 3 GB) ..."
    rm -rf "$venv" && mkdir "$venv" || exit 1
    : >"$venv/tofgan-stamp" # empty until everything is installed
    "$python" -m venv "$venv" || exit 1
    install -r "$requirements" || fail "Not everything could be installed: see pip's message above, then run this again."
    install --no-deps --no-build-isolation --editable . || exit 1
    wanted_stamp >"$venv/tofgan-stamp.new" && mv "$venv/tofgan-stamp.new" "$venv/tofgan-stamp" || exit 1
    echo "Made the environment."
}

if [ -n "${TOFGAN_PYTHON:-}" ]; then
    PYTHON=$TOFGAN_PYTHON
    "$PYTHON" -c 'import monai, torch' || fail "TOFGAN_PYTHON=$PYTHON does not run or lacks torch or monai: name a Python that has the packages of $requirements."
else
    if ! is_whole; then
        exec 9>"$venv.lock" || exit 1 # a second script started meanwhile waits for the first, where there is flock
        flock 9 2>/dev/null || true
        is_whole || make_environment
        exec 9>&-
    fi
    PYTHON=$venv/bin/python
fi
export PYTHON PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

tofgan() {
    "$PYTHON" -c 'from tofgan_monai.cli import main; main()' "$@"
}
