# The other scripts source this file after `cd` to the checkout. It sets PYTHON to an interpreter with everything that the project
# needs: the one of .venv, which is made here if it is missing, unfinished, moved, or older than requirements.txt or setup.cfg.
#
#   TOFGAN_PYTHON=/path/to/python   uses that environment instead and installs nothing, for example for another torch
#
# The settings of pip apply: on Linux, set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds to avoid the download of CUDA.

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
    fail "Python 3.11 or newer with its venv module was not found: install it (on Debian: python3 python3-venv)."
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
    install -r "$requirements" || fail "pip could not install everything: see its message above, then run this script again."
    install --no-deps --no-build-isolation --editable . || exit 1
    wanted_stamp >"$venv/tofgan-stamp.new" && mv "$venv/tofgan-stamp.new" "$venv/tofgan-stamp" || exit 1
    echo "Made the environment."
}

if [ -n "${TOFGAN_PYTHON:-}" ]; then
    PYTHON=$TOFGAN_PYTHON
    "$PYTHON" -c 'import monai, torch' || fail "TOFGAN_PYTHON=$PYTHON does not run, or torch or monai is missing: name a Python with the packages of $requirements."
else
    if ! is_whole; then
        exec 9>"$venv.lock" || exit 1 # where there is flock, a second script waits for the first
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
