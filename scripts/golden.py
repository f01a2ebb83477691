"""Computes small outputs of the `tofgan` commands ("verbs") and compares them with the record in tests/golden.json.

    python scripts/golden.py             prints each line that differs; exit status 1 if there is one
    python scripts/golden.py --record    writes the record

A change that only moves or renames code must leave all outputs equal. The record has three kinds of lines. A digest is
the SHA-256 of arrays: phantoms (simulated heads), stacks (files of image-label pairs), trained weights. A figure is a
number, rounded to six digits, or a short text, which a verb has written. A verdict says whether the exchange of bundles
accepts or refuses a file. Digests depend on the machine. On another machine, the script does not compare the digests,
and figures may differ by 1e-4.

The script uses only the command line and the files that the verbs write, except for the verdicts at the bottom. The
figures do not include timings and digests of files. The script records that a sentence exists, but not its words.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests" / "golden.json"
RENAMED: dict[str, str] = {}  # new key in the JSON that verbs write -> the key in the record
LEFT_OUT = {"seconds", "digest", "fingerprint", "sha256", "voxels", "weights_sha256"}
SENTENCE = 60  # characters; the words of a longer text may change
TOLERANCE = 1e-4  # relative or absolute, of figures on another machine

PRIVATE, UNET = "tof_mra_dp_wgan_gp", "tof_mra_vessel_segmentation"
GANS = ["tof_mra_dcgan", "tof_mra_wgan_gp", "tof_mra_wgan_gp_sn", PRIVATE]
STACKS = {"members": ("training", 20), "non_members": ("validation", 8), "references": ("test", 8)}
# Without a fixed noise seed, the noise is random.
OWN = {PRIVATE: ["--critic_width", 4, "--accountant", "rdp", "--n_fakes", 8, "--noise_seed", 0]}

# This must be set before torch is imported, here and in each process that this script starts: one thread on the CPU.
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg"}


def main() -> None:
    """Computes the outputs of the verbs, and writes them to the record or compares them with the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write tests/golden.json anew")
    wants_record = parser.parse_args().record
    with tempfile.TemporaryDirectory() as name:
        found = compute(Path(name))
    if wants_record:
        write(found)
        print(f"{RECORD.relative_to(ROOT)}: " + ", ".join(f"{len(found[kind])} {kind}" for kind in KINDS))
        return
    lines = list(differences(read_json(str(RECORD)), found))
    n = sum(len(found[kind]) for kind in KINDS)
    print("\n".join([*lines, f"{len(lines)} of {n} lines differ from the record"]))
    sys.exit(bool(lines))


def compute(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs the verbs in an empty folder; returns the machine and, for each kind, a dict from name to value."""
    os.chdir(folder)
    make_environment(folder)
    digests, figures = {}, {}
    make_data()
    for path in [Path("A/sub-A10000"), *Path("B").iterdir(), *Path("C").iterdir()]:
        for volume in ("image", "label", "mask"):
            digests[f"phantom/{path.name}/{volume}"] = volume_digest(path / f"{volume}.nii.gz")
    for name in STACKS:
        digests[f"extract/{name}"] = array_digest(np.load(f"{name}.npy"))
        figures |= flat(read_json(f"{name}.json"), f"extract/{name}")
    tofgan(*(["generate", bundle, f"{bundle}.npy", "-n", 64] for bundle in GANS))
    for bundle in GANS:
        digests[f"generate/{bundle}"] = array_digest(np.load(f"{bundle}.npy"))
        figures |= flat(read_json(f"{bundle}.json"), f"generate/{bundle}")
    for bundle in [*GANS, UNET]:
        train(bundle)
        digests |= {f"train/{bundle}/{name}": digest for name, digest in trained(Path("runs", bundle))}
        figures |= flat(read_json(f"runs/{bundle}/losses.jsonl"), f"train/{bundle}/losses")
    figures |= flat(read_json(f"runs/{PRIVATE}/guarantee.json"), f"train/{PRIVATE}/guarantee")
    tofgan(["evaluate", "prepared", "evaluated", "--bundle", UNET, "--split", "validation", "--baseline"])
    figures |= flat(read_json("evaluated/results.jsonl"), "evaluate")
    groups = [word for name in STACKS for word in (f"--{name.replace('_', '-')}", f"{name}.npy")]
    tofgan(["audit", "tof_mra_wgan_gp.npy", "audited", *groups, "--pairs-per-patient", 16])
    figures |= flat(read_json("audited/audit.json"), "audit")
    return {"machine": machine(), "digests": digests, "figures": figures, "verdicts": verdicts(folder)}


# ---- the verbs


def make_environment(folder: Path) -> None:
    """Sets the environment so that started processes import this checkout and find a version of the package.

    The audit reads the version of the installed package; a made-up version 0 is written into `folder`.
    """
    info = folder / "installed" / "tofgan_monai-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tofgan-monai\nVersion: 0\n")
    os.environ["TOFGAN_BUNDLES"] = str(folder / "bundles")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(info.parent), os.environ.get("PYTHONPATH", "")])


def tofgan(*verbs: list[Any]) -> None:
    """Runs verbs one after the other in one process; if one fails, ends the script and prints the verb's messages."""
    words = [str(word) for verb in verbs for word in ("+", *verb)][1:]
    print("tofgan", *words, file=sys.stderr)
    command = [sys.executable, "-m", "tofgan_monai", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}this command failed, so nothing was compared: tofgan {' '.join(words)}")


def make_data() -> None:
    """Simulates heads of the sites A, B and C, and extracts a stack for each of three groups of patients of site A."""
    heads = [["phantom", site, "--site", site, "--small", "-n", n] for site, n in {"A": 8, "B": 1, "C": 1}.items()]
    prepared = [["check", "A", "--counts", "2,2,4", "--n-vessel", 50], ["prepare", "A", "prepared"]]
    sizes = [(name, ["--split", split, "--n-vessel", n, "--n-random", n]) for name, (split, n) in STACKS.items()]
    tofgan(*heads, *prepared, *(["extract", "prepared", f"{name}.npy", *size] for name, size in sizes))


def train(bundle: str) -> None:
    """Trains a tiny version of a bundle's network for 20 iterations."""
    validation = [] if bundle == PRIVATE else ["--validation-pairs", "non_members.npy"]  # the private bundle uses none
    sizes = ["--width", 4, "--batch_size", 8, "--max_epochs", 2, *OWN.get(bundle, [])]  # 80 training pairs
    tofgan(["train", bundle, "--output-dir", f"runs/{bundle}", "--pairs", "members.npy", *validation, *sizes])


# ---- digests and figures


def array_digest(*arrays: np.ndarray) -> str:
    """SHA-256, as hexadecimal text, of the dtypes, shapes and bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def volume_digest(path: Path) -> str:
    """SHA-256, as hexadecimal text, of the voxels and the affine of a NIfTI file."""
    import nibabel

    volume = nibabel.load(path)
    return array_digest(np.asanyarray(volume.dataobj), volume.affine)


def weights_digest(weights: dict[str, Any]) -> str:
    """SHA-256, as hexadecimal text, of the names, dtypes, shapes and bytes of tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {array_digest(tensor.detach().cpu().numpy())} ".encode())
    return digest.hexdigest()


def trained(run: Path) -> Iterator[tuple[str, str]]:
    """Yields name and digest of a training run's best weights, and of each network in its last checkpoint."""
    import torch

    (best,) = run.glob("best.*")
    if best.suffix == ".safetensors":
        from safetensors.torch import load_file
    else:
        load_file = torch.load
    yield "best", weights_digest(load_file(best))
    state = torch.load(run / "checkpoint.pt")["state"]
    for name, part in state.items():
        if part and all(isinstance(value, torch.Tensor) for value in part.values()):
            yield f"last {name}", weights_digest(part)


def read_json(path: str) -> Any:
    """Reads a JSON file and returns its content; for a JSONL file, returns a list with the content of each line."""
    text = Path(path).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.endswith(".jsonl") else json.loads(text)


def flat(content: Any, path: str) -> dict[str, Any]:
    """Dict from a path of keys ("a/b") to the number, text or list of numbers there, for all JSON content at `path`.

    The keys in LEFT_OUT are left out; the keys in RENAMED get their old names.
    """
    if is_leaf(content):
        return {path: rounded(content)}
    items = content.items() if isinstance(content, dict) else enumerate(content)
    named = [(RENAMED.get(key, key), part) for key, part in items]
    parts = [flat(part, f"{path}/{key}") for key, part in named if key not in LEFT_OUT]
    return {name: value for part in parts for name, value in part.items()}


def is_leaf(content: Any) -> bool:
    """Whether a value is a number, a text, None, or a (nested) list of numbers."""
    if isinstance(content, list):
        return all(is_leaf(part) and not isinstance(part, str) for part in content)
    return not isinstance(content, dict)


def rounded(value: Any) -> Any:
    """Returns the value with each float rounded to six significant digits; replaces long texts by "(a sentence)"."""
    if isinstance(value, list):
        return [rounded(part) for part in value]
    if isinstance(value, str) and len(value) > SENTENCE:
        return "(a sentence)"
    return float(f"{value:.6g}") if isinstance(value, float) else value


# ---- the record

KINDS = ("digests", "figures", "verdicts")


def machine() -> dict[str, str]:
    """Dict with the CPU model and the versions of torch, numpy and scipy, on which the digests depend."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"cpu": model, **{name: version(name) for name in ("torch", "numpy", "scipy")}}


def write(found: dict[str, dict[str, Any]]) -> None:
    """Writes the record with one line per output, so that a diff shows which outputs have changed."""
    parts = []
    for kind, entries in found.items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
        parts.append(f" {json.dumps(kind)}: {{\n{lines}\n }}")
    RECORD.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def differences(record: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yields a text for each output that differs from the record, is missing, or is not in the record."""
    elsewhere = record["machine"] != found["machine"]
    if elsewhere:
        there, here = (", ".join(f"{k} {v}" for k, v in some["machine"].items()) for some in (record, found))
        print(
            f"the record was made on {there}, but this machine is {here}; digests were not compared, and figures may "
            f"differ by {TOLERANCE:g}"
        )
    for kind in ("figures", "verdicts") if elsewhere else KINDS:
        for key in {**record[kind], **found[kind]}:
            old, new = (some[kind].get(key, "missing") for some in (record, found))
            if not is_same(old, new, TOLERANCE if elsewhere else 0):
                yield f"{kind}: {key} is now {new}, but the record has {old}"


def is_same(old: Any, new: Any, tolerance: float) -> bool:
    """Whether two values are equal, floats within a relative or absolute tolerance; NaN equals NaN."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(is_same(*pair, tolerance) for pair in zip(old, new, strict=True))
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance) or (math.isnan(old) and math.isnan(new))
    return old == new


# ---- verdicts: the only part that imports modules, from the tests


def verdicts(folder: Path) -> dict[str, str]:
    """Dict from "TABLE/NAME" to "accepted" or "refused", for each attack and each honest change in the tests.

    The tables are in the modules of tests/exchange. The names in the tables WEIGHTS and FORGED are names of attacks on
    files of weights. All these attacks use the safetensors format, because bundles hold weights in this format. When
    this format replaced torch's, 24 attacks on parts that only safetensors has were added to the record.
    """
    sys.path[:0] = [str(ROOT)]
    from tests import conftest
    from tests.exchange import test_attacks as attacks
    from tests.exchange import test_honest as honest
    from tests.exchange import test_weights as weights

    read = conftest.bundle_files.__wrapped__()

    def verdict(bundle: str, files: dict[str, bytes], change: Any = bytes) -> str:
        number = json.loads(read(bundle)[attacks.META])["version"]
        path = folder / "bundle.zip"
        path.write_bytes(change(attacks.write(attacks.Content(bundle, number, files))))
        try:
            attacks.verify(path)
        except attacks.InputError:
            return "refused"
        return "accepted"

    name, plain = attacks.BUNDLE, read(attacks.BUNDLE)
    found = {f"unchanged/{bundle}": verdict(bundle, read(bundle)) for bundle in [*GANS, UNET]}
    for key, attack in attacks.attacks().items():
        files = {**plain, attack.file: attack.change(plain.get(attack.file, b""))}
        found[f"attacks/{key}"] = verdict(name, files)
    for key, (make, _) in attacks.WEIGHTS.items():
        data = make()
        card = attacks.as_text(attacks.card(hashlib.sha256(data).hexdigest(), [{"kind": "real"}], "a test"))
        found[f"WEIGHTS/{key}"] = verdict(name, {**plain, attacks.MODEL: data, attacks.CARD: card})
    for key, (change, _) in attacks.ARCHIVES.items():
        found[f"ARCHIVES/{key}"] = verdict(name, plain, change)
    for key, (bundle, change) in honest.HONEST.items():
        files = read(bundle)
        change(files)
        found[f"HONEST/{key}"] = verdict(bundle, files)
    for key, make in weights.FORGED.items():
        found[f"FORGED/{key}"] = "refused" if weights.problems(make()) else "accepted"
    if Path("canary").exists():
        sys.exit("an attack ran code: it wrote the file `canary`; find out which check accepted it")
    return found


if __name__ == "__main__":
    main()
