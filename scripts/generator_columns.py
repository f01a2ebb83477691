"""The columns of the bench of generators, and the folder that they are measured in; see measure_generators.py."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai import InputError, PairDataset, open_stack, weights_file_digest
from tofgan_monai.audit.assessment import copy_search, on_data
from tofgan_monai.audit.cohorts import read_cohorts
from tofgan_monai.audit.neighbours import find_neighbours
from tofgan_monai.audit.parts import Parts
from tofgan_monai.cli import app
from tofgan_monai.gan.label_threshold import vessel_share
from tofgan_monai.metrics.stacks.diversity import similarity_within
from tofgan_monai.metrics.stacks.features import EFFICIENTNETS, Extractor, drawn, load_extractor, pair_features
from tofgan_monai.metrics.stacks.frechet import feature_stats, frechet_distance
from tofgan_monai.metrics.stacks.kernel_distance import kernel_distance
from tofgan_monai.metrics.stacks.manifold import manifold
from tofgan_monai.metrics.stacks.vessels import compare_vessels, vessel_statistics
from tofgan_monai.segmentation.results import read_results
from tofgan_monai.study.plan import PROCEDURAL, UNET
from tofgan_monai.study.settings import read_settings

SHIPPED, REAL, SCRATCH = "shipped", "real", "scratch"
RATES = "--lr 0.004 --dropout 0.0 --overlay plain"  # what the laptop study chose for real pairs on its own patients
PAIRS_PER_PATIENT = 25  # of an attack's queries
HEADS = {  # site, position of the first seed, and numbers of patients in training, validation, test of each cohort
    "A": ("A", 0, (24, 4, 0)),  # the patients of the shipped generators, or at --site B those of its own training
    "others": ("A", 3000, (40, 20, 10)),  # patients of the floor, of the reference, and those that are scored
    "B": ("B", 3000, (4, 4, 10)),
    "C": ("C", 3000, (16, 0, 0)),
}
STACKS: dict[str, tuple[str, int, Sequence[object]]] = {  # cohort, pairs of both kinds of a patient, further options
    "training": ("A", 250, ()),
    "validation": ("A", 100, ("--split", "validation")),
    "reference": ("others", 25, ("--split", "validation")),
    "floor": ("others", 13, ()),
    REAL: ("A", 100, ()),
    PROCEDURAL: ("C", 150, ()),
    "validation_B": ("B", 100, ("--split", "validation")),
    **{f"B_{draw}": ("B", 100, ("--patients", 1, "--skip", draw)) for draw in range(HEADS["B"][2][0])},
}
SCORED = {"A": "others", "B": "B"}  # the cohort whose test patients are scored, by site


def run(*words: object) -> None:
    """Runs a `tofgan` command in this process; the arguments are the words after `tofgan`."""
    app([str(word) for word in words], standalone_mode=False)


@dataclass(frozen=True)
class Candidate:
    """Set of pairs that the bench measures, a line of results.jsonl.

    Attributes:
        engine: name of the bundle that makes the pairs, or "real", "procedural" or "scratch".
        snapshot: "shipped", or the name of the file of weights; empty for pairs that no engine makes.
        weights: file of the weights; None for pairs that no engine makes.
        bundle: folder of the bundle; None for pairs that no engine makes.
        columns: names of the columns that are measured.
    """

    engine: str
    snapshot: str
    weights: Path | None
    bundle: Path | None
    columns: Sequence[str]

    @cached_property
    def digest(self) -> str | None:
        """Digest of the weights; None if no engine makes the pairs."""
        return weights_file_digest(self.weights) if self.weights else None

    @property
    def name(self) -> str:
        """Name of the files of this set of pairs."""
        return "_".join([self.engine, self.snapshot, self.digest[:8]]) if self.digest else self.engine

    @property
    def described(self) -> dict[str, Any]:
        """First entries of the line in results.jsonl, which tell one line from another."""
        try:
            hours = float(self.snapshot)
        except ValueError:
            hours = None
        return {"engine": self.engine, "snapshot": self.snapshot, "weights_sha256": self.digest, "core_hours": hours}


@dataclass(frozen=True)
class Bench:
    """Folder of the bench with its simulated heads, stacks, trainings and results.

    Attributes:
        work: the folder.
        n: number of pairs of each set that are compared with the reference.
        draws: number of patients of site B, each of which a U-Net is trained on alone.
        site: the site of the engines' patients, of the reference and of the floor.
        extractors: the networks whose features are compared.
        settings: the settings of the study's preset "laptop".
    """

    work: Path
    n: int = 1000
    draws: int = 2
    site: str = "A"
    extractors: Sequence[Extractor] = field(default_factory=lambda: [load_extractor(network=n) for n in EFFICIENTNETS])
    settings: dict[str, Any] = field(default_factory=lambda: read_settings("laptop"))

    def stack(self, name: str) -> Path:
        """Path of a stack; a stack of real pairs that is missing is extracted, after its heads are simulated."""
        path = self.work / "pairs" / f"{name}.npy"
        if not path.exists():
            cohort, n, options = STACKS[name]
            run("extract", self.heads(cohort), path, "--n-vessel", n, "--n-random", n, *options)
        return path

    def heads(self, cohort: str) -> Path:
        """Folder of the prepared heads of a cohort, which are simulated if they are missing."""
        raw, prepared = self.work / "heads" / cohort, self.work / "prepared" / cohort
        if not (prepared / "cohort.json").exists():
            site, start, counts = HEADS[cohort]
            site = self.site if cohort in ("A", "others") else site
            n_vessel = max(n for of, n, _ in STACKS.values() if of == cohort)
            seeds = ["--n", sum(counts), "--seeds", "weights", "--start", start]
            run("phantom", raw, "--site", site, "--small", *seeds)
            run("check", raw, "--counts", ",".join(map(str, counts)), "--n-vessel", n_vessel)
            run("prepare", raw, prepared, "--skull-strip", "given")
        return prepared

    def pairs_of(self, candidate: Candidate) -> Path:
        """Path of the stack of a candidate, which its engine makes if the stack is missing."""
        if candidate.bundle is None:
            return self.stack(candidate.engine)
        path = self.work / "pairs" / f"{candidate.name}.npy"
        if not path.exists():
            n = len(open_stack(self.stack(REAL))[0])
            # For other weights than the shipped ones the threshold of the labels is chosen on validation patients.
            own = candidate.snapshot == SHIPPED
            other = [] if own else ["--weights", candidate.weights, "--validation-pairs", self.stack("validation")]
            run("generate", candidate.bundle, path, "-n", n, *other)
        return path

    def chosen(self, path: Path) -> np.ndarray:
        """Pairs of a stack that are compared, (n, 2, 96, 96), drawn at random."""
        pairs = open_stack(path)[0]
        if len(pairs) < self.n:
            raise InputError(f"{path}: the stack has {len(pairs)} pairs, but {self.n} are compared; make more")
        return np.asarray(pairs[drawn(len(pairs), self.n, seed=0)])

    def compared(self, path: Path) -> dict[str, np.ndarray]:
        """Features by extractor and values by vessel statistic of a stack's chosen pairs; computed once for a stack."""
        parts = Parts(self.work / "parts", {"digest": PairDataset(path).digest, "n": self.n})
        pairs = self.chosen(path)
        found = parts.arrays("vessels", lambda: vessel_statistics(pairs, name=path.stem))
        for extractor in self.extractors:
            found[extractor.name] = parts.arrays(
                f"features {extractor.sha256[:8]}",
                partial(_features, pairs, extractor, path.stem),
            )["features"]
        return found


def _features(pairs: np.ndarray, extractor: Extractor, name: str) -> dict[str, np.ndarray]:
    chunks = pair_features(pairs, np.arange(len(pairs)), extractor, name=name)
    return {"features": np.concatenate([chunk.numpy() for chunk in chunks])}


def quality(bench: Bench, candidate: Candidate) -> dict[str, Any]:
    """Compares a candidate's pairs with a fixed reference, held-out patients; other patients give each floor."""
    paths = {"own": bench.pairs_of(candidate), "real": bench.stack("reference"), "others": bench.stack("floor")}
    found = {name: bench.compared(path) for name, path in paths.items()}
    images = {name: bench.chosen(path)[:, 0].astype(np.float32) for name, path in paths.items()}
    compared = compare_vessels(found["own"], found["real"], found["others"])
    return {
        "n": bench.n,
        "reference_digest": PairDataset(paths["real"]).digest,
        "floor_digest": PairDataset(paths["others"]).digest,
        **{one.name: _closeness({name: of[one.name] for name, of in found.items()}) for one in bench.extractors},
        "ms_ssim": {name: similarity_within(of) for name, of in images.items()},
        "vessel_share": {name: vessel_share(path) for name, path in paths.items()},
        "vessels": {one["name"]: {key: one[key] for key in ("unit", "means", "distance", "floor")} for one in compared},
    }


def _closeness(features: dict[str, np.ndarray]) -> dict[str, Any]:
    """Measures on the features of one extractor: candidate against reference, and other patients against reference."""
    reference = feature_stats(features["real"])
    distances = {name: frechet_distance(feature_stats(features[name]), reference) for name in ("own", "others")}
    kernel = {name: kernel_distance(features[name], features["real"]).value for name in ("own", "others")}
    return {
        "fd": distances["own"],
        "fd_floor": distances["others"],
        "fd_times_floor": distances["own"] / distances["others"],
        "kid": kernel["own"],
        "kid_floor": kernel["others"],
        **manifold(features["real"], features["own"]),
        "of_others": manifold(features["real"], features["others"]),
    }


def attacks(bench: Bench, candidate: Candidate) -> dict[str, Any]:
    """Runs the attacks on released pairs and the copy search of an audit, on the patients the engines learn from."""
    stacks = [bench.stack(name) for name in ("training", "floor", "reference")]
    cohorts = read_cohorts(*stacks, pairs_per_patient=PAIRS_PER_PATIENT)
    path = bench.pairs_of(candidate)
    parts = Parts(bench.work / "parts" / "attacks", [PairDataset([path, *stacks]).digest, bench.n, PAIRS_PER_PATIENT])
    neighbours = find_neighbours(bench.chosen(path), cohorts, parts)
    found = copy_search(neighbours, cohorts)
    return {
        "n_members": cohorts.members.n_patients,
        "n_non_members": cohorts.non_members.n_patients,
        "auc": {
            attack["name"]: {**attack["patient"]["auc"], "excess": attack["excess"]["patient"]}
            for attack in on_data(neighbours, cohorts)
        },
        **{key: found[key] for key in ("n_copies", "n_near_copies", "n_expected", "p", "authenticity_pct")},
    }


def unet(bench: Bench, name: str, seed: int, *options: object, pairs: Sequence[Path], site: str) -> dict[str, list]:
    """Trains a U-Net on stacks and scores it; returns the DSC of each test patient, by site.

    Args:
        bench: the bench.
        name: name of the training, which is not repeated if its scores exist.
        seed: seed of the training.
        options: further options of `tofgan train`.
        pairs: the stacks to train on.
        site: the site of the validation patients, on whom the best epoch is chosen. A U-Net of site A is scored on both
            sites, one of site B on B alone.
    """
    folder, width = bench.work / "unets" / name / str(seed), ["--width", bench.settings["unet_width"]]
    sites = ["A", "B"] if site == "A" else [site]
    missing = [one for one in sites if not (folder / f"{one}.jsonl").exists()]
    if missing:
        data = [word for path in pairs for word in ("--pairs", path)]
        validation = bench.stack("validation" if site == "A" else "validation_B")
        words = [*shlex.split(bench.settings["unet_train"]), *shlex.split(RATES), *width, "--seed", seed, *options]
        run("train", UNET, "--output-dir", folder, *data, "--validation-pairs", validation, *words)
    for one in missing:
        files, scores = folder / f"files_{one}", folder / f"{one}.jsonl"
        written = ["--results", scores, "--error_maps", "", "--model", folder.parent.name, "--cohort", one, "--restart"]
        weights = ["--bundle", UNET, "--weights", folder / "best.pt", *width]
        run("evaluate", bench.heads(SCORED[one]), files, *weights, "--split", "test", *written)
        shutil.rmtree(files, ignore_errors=True)
    return {one: [line["dsc"] for line in read_results(folder / f"{one}.jsonl")] for one in sites}


def alone(bench: Bench, candidate: Candidate) -> dict[str, Any]:
    """Scores U-Nets trained on the candidate's pairs alone; the DSC of each seed and test patient, by site."""
    return _by_site([_alone(bench, candidate, seed) for seed in bench.settings["seeds"]])


def _alone(bench: Bench, candidate: Candidate, seed: int) -> dict[str, list]:
    return unet(bench, candidate.name, seed, pairs=[bench.pairs_of(candidate)], site="A")


def with_real(bench: Bench, candidate: Candidate) -> dict[str, Any]:
    """Scores U-Nets trained on real pairs and as many of the candidate's; the DSC of each seed and test patient."""
    pairs = [bench.stack(REAL), bench.pairs_of(candidate)]
    scores = [unet(bench, f"real+{candidate.name}", s, pairs=pairs, site="A") for s in bench.settings["seeds"]]
    return _by_site(scores)


def _by_site(scores: list[dict[str, list]]) -> dict[str, list]:
    return {site: [of[site] for of in scores] for site in scores[0]}


def transfer(bench: Bench, candidate: Candidate) -> dict[str, Any]:
    """Scores U-Nets trained on one patient of site B, pre-trained on the candidate's pairs (or not, for "scratch").

    Returns the DSC on site B of each draw of the patient, seed and test patient.
    """
    table = []
    for draw in range(bench.draws):
        table.append([])
        for seed in bench.settings["seeds"]:
            start: list[object] = []
            if candidate.engine != SCRATCH:
                _alone(bench, candidate, seed)
                start = ["--pretrained", bench.work / "unets" / candidate.name / str(seed) / "best.pt"]
            name, pairs = f"{candidate.name}_then_B_{draw}", [bench.stack(f"B_{draw}")]
            table[-1].append(unet(bench, name, seed, *start, pairs=pairs, site="B")["B"])
    return {"B": table}


COLUMNS: dict[str, Callable[[Bench, Candidate], dict[str, Any]]] = {
    "quality": quality,
    "alone": alone,
    "attacks": attacks,
    "with_real": with_real,
    "transfer": transfer,
}
COMPARED = {REAL: ("quality", "alone", "attacks"), PROCEDURAL: tuple(COLUMNS), SCRATCH: ("transfer",)}
