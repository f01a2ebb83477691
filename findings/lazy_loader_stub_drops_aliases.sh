#!/bin/sh
# lazy_loader 0.6: attach_stub forgets "as" and everything that is not an import, and says nothing
#
# Expected: `attach_stub` "infers lazy attributes from a type stub": what `__init__.pyi` exports is what the
#   package has at run time. Where it cannot read a stub it raises, as it does for star and absolute imports.
# Seen: `from .sub import f as g` gives an attribute `f` and no `g` (AttributeError), `from . import sub as s` gives
#   `sub`; names from `import os as os`, `def q() -> int: ...` and `x: int` are dropped, an `__all__` in the stub is
#   ignored, all in silence. EAGER_IMPORT=1, meant to find errors of lazy imports early, does not raise either.
# Versions: lazy_loader 0.6.
# Who is hurt: a renamed export passes the type checker and the documentation build, gives no error at import, and
#   fails at the user's first access; the private name that it renames becomes public instead.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "lazy_loader==0.6"
cd "$work"
cat > probe.py <<'EOF'
import importlib, os, sys
from importlib.metadata import version

print("lazy_loader", version("lazy_loader"), "EAGER_IMPORT", os.environ.get("EAGER_IMPORT", ""))
stubs = {"alias": "from .one import f as g", "module": "from . import one as s", "star": "from .one import *",
         "rest": "import os as os\nx: int\ndef q() -> int: ...",
         "listed": "from .one import f\n__all__ = ['h']\nfrom .two import h"}
seen = {}
for name, stub in stubs.items():
    os.makedirs(name, exist_ok=True)
    attach = "import lazy_loader as lazy\n__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)"
    files = {"__init__.pyi": stub, "__init__.py": attach, "one.py": "def f(): return 1", "two.py": "def h(): return 2"}
    for file, text in files.items():
        with open(os.path.join(name, file), "w") as stream:
            stream.write(text + "\n")
    try:
        package = importlib.import_module(name)
        seen[name] = sorted(package.__all__), [n for n in ("f", "g", "h", "s", "x", "q", "os") if hasattr(package, n)]
    except ValueError as error:
        seen[name] = "ValueError"
    print(f"{name}: {stub!r} gives {seen[name]}")
ok = seen["alias"] == (["f"], ["f"]) and seen["module"] == (["one"], []) and seen["star"] == "ValueError"
ok = ok and seen["rest"] == ([], []) and seen["listed"] == (["f", "h"], ["f", "h"])
sys.exit(None if ok else "changed: stubs are read in another way")
EOF
env/bin/python -B probe.py
EAGER_IMPORT=1 env/bin/python -B probe.py
echo "as described"
