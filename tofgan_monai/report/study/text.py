"""The words of a study's page that depend on its results: what was done, what came out, how."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.threshold_baseline import PROBABILITIES
from tofgan_monai.report import paper
from tofgan_monai.report.study.tables import ARMS, patients
from tofgan_monai.report.tables import TIMES, between, fixed, signed
from tofgan_monai.segmentation.results import Line
from tofgan_monai.study import plan as study
from tofgan_monai.study.data import BASELINES, StudyResults


def introduction(results: StudyResults) -> str:
    """The first paragraph: whose data, how many, at which scale, how long it took."""
    return " ".join([*_patients(results), *_scale(results), *_time(results)])


def _patients(results: StudyResults) -> Iterator[str]:
    simulated = [site for site in "AB" if results.is_simulated(site)]
    heads = "simulated heads"
    if results.settings["small_heads"]:
        heads += ", cropped about the circle of Willis"
    if len(simulated) == 2:
        yield f"All patients are {heads}."
    elif simulated:
        own = "B" if simulated == ["A"] else "A"
        yield f"The patients of site {simulated[0]} are {heads}; those of site {own} are a cohort of the user's own."
    else:
        rest = "; nothing but the procedural pairs is simulated" if results.settings["procedural"] else ""
        yield f"The patients are two cohorts of the user's own{rest}."
    numbers = [
        f"site {site} (in the place of {name}) has {_listed(results.n_patients(site))}"
        for site, name in paper.COHORTS.items()
    ]
    theirs = " and ".join(_listed(n) for n in paper.N_PATIENTS.values())
    yield f"In training, validation and test {' and '.join(numbers)} patients; the paper's: {theirs}."


def _scale(results: StudyResults) -> Iterator[str]:
    settings = results.settings
    widths = generator_widths(results)
    made = (
        "retrained here"
        if settings["retrain"]
        else "as the bundles ship them, trained on 24 other simulated heads of site A"
    )
    width = f", of width {_listed(widths)} (the authors': {paper.GENERATOR_WIDTH})" if widths else ""
    n_real, n_made = results.about["n_real"], results.about["n_synthetic"]
    yield (
        f"The {n_real:,} real pairs of site A stand against {n_made:,} of each GAN (the paper: {paper.N_SYNTHETIC:,} "
        f"each); the GANs are {made}{width}."
    )
    seen = patches_seen(results)
    amount = "" if seen is None else f", trained on {seen:,} patches each (the paper: {paper.N_PATCHES_SEEN:,})"
    n = len(settings["seeds"])
    yield (
        f"The half U-Nets have width {settings['unet_width']} (the paper: {paper.UNET_WIDTH}){amount}, "
        f"{'with one seed' if n == 1 else f'each with {n} seeds'}."
    )
    yield "At this scale the order of the GANs, and of all training sets, may differ from the paper's."


def _time(results: StudyResults) -> Iterator[str]:
    budget, minutes = results.settings.get("budget_minutes"), results.core_minutes
    if minutes is not None:
        yield (
            f"All steps together took {_minutes(minutes)} minutes of one core, {_minutes(minutes / 2)} of two"
            + (f"; the budget was {budget} minutes of two." if budget else ".")
        )


def _minutes(minutes: float) -> str:
    return f"{minutes:,.0f}" if minutes >= 10 else f"{minutes:.1f}"


def generator_widths(results: StudyResults) -> list[int]:
    """Of the GANs in their order, or one for all; empty where it is not known."""
    settings = results.settings
    if settings["retrain"]:
        return [settings["gan_width"]] if settings["gan_width"] else []
    try:
        configs = [bundle_path(bundle) / "configs" / "inference.yaml" for bundle in settings["gans"].values()]
        return [int(yaml.safe_load(config.read_text(encoding="utf-8"))["width"]) for config in configs]
    except (InputError, OSError, yaml.YAMLError, KeyError, TypeError):
        return []


def patches_seen(results: StudyResults) -> int | None:
    """How many patches a U-Net of Table 2 was shown, repeats counted; None where neither options nor losses say so."""
    words = shlex.split(f"{results.settings['unet_train']} {_chosen(results)}".replace("=", " "))
    options = {word: value for word, value in pairwise(words) if word.startswith("--")}
    try:
        return int(options["--pairs_per_epoch"]) * int(options["--max_epochs"])
    except (KeyError, ValueError):
        pass
    courses = {line["model"]: line["epochs"] for line in results.others.get("losses", [])}
    steps = [row.get("iteration") for row in courses.get("U-Net on real", [])][-1:]
    try:
        return int(steps[0]) * int(options["--batch_size"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _chosen(results: StudyResults) -> str:
    return next((line["chosen"] for line in results.others.get("tuning", []) if line["model"] == "real"), "")


def findings(results: StudyResults) -> list[str]:
    """What came out, a sentence each; whatever was not measured is left out."""
    return [*_real_alone(results), *_best_alone(results), *_rival(results), *_transfer(results)]


def _real_alone(results: StudyResults) -> Iterator[str]:
    real = results.table2.get(("real", "A", "test"))
    if real is None:
        return
    for dsc in results.lines("interval", of="table2", model="real", cohort="A", measure="dsc"):
        yield (
            f"Real pairs alone: DSC {fixed(dsc['value'])} ({between(dsc['low'], dsc['high'])}) on the "
            f"{patients(dsc['n'])} of site A's test set; the paper: {paper.TABLE_2['real', 'A'].dsc_test:.2f}."
        )
    for chosen_on, words in (
        ("validation", "the best single threshold of the validation patients"),
        (None, "the best that any single threshold reaches on these very patients"),
    ):
        for margin in _differences(results, about="real", first="real", second=BASELINES[chosen_on]):
            reached = results.thresholds[chosen_on, "A"].mean("dsc")
            yield f"Real pairs alone, against {words} (DSC {fixed(reached)}): {_told(margin)}."


def _best_alone(results: StudyResults) -> Iterator[str]:
    best = results.best_gan
    real, alone = (results.table2.get((name, "A", "test")) for name in ("real", best))
    if real is None or alone is None or not real.mean("dsc"):
        return
    theirs = paper.TABLE_2["WGAN-GP-SN", "A"].dsc_test / paper.TABLE_2["real", "A"].dsc_test
    yield (
        f"Synthetic pairs alone, of {best}, chosen on validation: DSC {fixed(alone.mean('dsc'))}, a share of "
        f"{alone.mean('dsc') / real.mean('dsc'):.2f} of real pairs'; the paper, its WGAN-GP-SN: {theirs:.2f}."
    )


def _rival(results: StudyResults) -> Iterator[str]:
    """The chosen GAN's pairs against those that need no patient."""
    for site in "AB":
        for difference in _differences(results, about=study.PROCEDURAL, cohort=site):
            pair = (difference["first"], difference["second"])
            ours, theirs = (fixed(results.table2[name, site, "test"].mean("dsc")) for name in pair)
            yield (
                f"On site {site}, {results.best_gan}'s pairs (DSC {ours}) minus procedural ones, which need no patient "
                f"(DSC {theirs}): {_told(difference)}."
            )


def _transfer(results: StudyResults) -> Iterator[str]:
    if not results.counts:
        return
    k = results.counts[0]
    for line in _differences(results, about="transfer", n_training=k, first="pretrained", second="scratch"):
        levels = line["all_levels"]
        theirs = paper.ONE_PATIENT["pretrained"][0] - paper.ONE_PATIENT["scratch"][0]
        yield (
            f"Pre-trained minus from scratch, with {patients(k)} of site B in training: DSC {signed(line['value'])} "
            f"({between(levels['low'], levels['high'], is_difference=True)} over {_number(levels['draws'], 'draw')}, "
            f"{_number(levels['seeds'], 'seed')} and {_number(levels['patients'], 'test patient')})"
            + (f"; the paper: {signed(theirs, 2)}." if k == 1 else ".")
        )


def _differences(results: StudyResults, **wanted: Any) -> list[Line]:
    return results.lines("comparison", measure="dsc", **wanted)


def _told(line: Line) -> str:
    return f"{signed(line['value'])} ({between(line['low'], line['high'], is_difference=True)})"


def transfer_words(results: StudyResults) -> str:
    """Fig. 3 in words: mean DSC and 95HD of each arm at each number of patients."""
    return "; ".join(
        f"{patients(k)}, {ARMS.get(arm, arm)}: DSC {fixed(scores.mean('dsc'))}, "
        f"95HD {fixed(scores.mean('hd95_mm'), 2)} mm"
        for k in results.counts
        for arm in results.arms
        if (scores := results.transfer.get((arm, k, "test")))
    )


def calibration(results: StudyResults) -> list[str]:
    """For real pairs and the chosen GAN's: the threshold that validation would choose, and what it would change."""
    sentences = []
    for name in dict.fromkeys(("real", results.best_gan)):
        curves = [
            scores.threshold_curve() if (scores := results.table2.get((name, "A", split))) else None
            for split in ("validation", "test")
        ]
        if curves[0] is None or curves[1] is None:
            continue
        at, half = int(np.argmax(curves[0])), PROBABILITIES.index(0.5)
        sentences.append(
            f"{'Real pairs' if name == 'real' else name} alone: validation would choose {PROBABILITIES[at]:.2f}, "
            f"test DSC {fixed(float(curves[1][at]))} there and {fixed(float(curves[1][half]))} at 0.50."
        )
    return sentences


def methods(results: StudyResults) -> list[str]:
    """How it was done, for a reader who would repeat it."""
    settings = results.settings
    versions = ", ".join(f"{name} {version}" for name, version in results.about.get("versions", {}).items())
    seeds = ", ".join(map(str, settings["seeds"]))
    draws = ", ".join(f"{k}: {n}" for k, n in settings["transfer"].items())
    return [
        f"Patches of 96 {TIMES} 96 voxels of axial slices, {settings['n_vessel']} about a vessel voxel and "
        f"{settings['n_random']} anywhere in the brain of each training patient. Patients were split before any patch "
        "was taken.",
        f"Half U-Net after Livne et al. 2019 (five levels, no batch norm, {settings['unet_width']} channels in the "
        "first), on patches of zero mean and unit variance; options of its training: "
        f"{settings['unet_train'] or 'none'}. Learning rate and dropout were chosen on site A's "
        "validation patients, and classical augmentation was taken where it helped there.",
        "Whole volumes are segmented in windows of a patch's size, cut at probability 0.5, and scored against the "
        "labels of the prepared volumes, which are masked as the images are. A prediction or label without vessels "
        "counts: DSC 0 and the volume's diagonal as 95HD (both "
        "empty: 1 and 0 mm).",
        "95HD: of the two directed 95th percentiles of distances between surface voxels the larger one. The paper "
        "speaks of all vessel voxels and of averaging over voxels; so its figures are of another size.",
        "Best single threshold: vessels are what is brighter than one intensity, the same for all heads; chosen by "
        "mean DSC on validation patients, or on the test patients themselves.",
        f"Procedural pairs: {settings['procedural']} heads of the public simulation C, drawn from ranges far wider "
        "than a site's; no head of A or B is in it. What a GAN has to beat."
        if settings["procedural"] else "No procedural pairs were asked for.",
        f"Transfer: training patients of site B drawn at random and disjointly (patients: draws; {draws}); the weights "
        "kept are those with the best validation DSC. The two arms of a pair share draws and seeds.",
        "Intervals: 95% percentile bootstrap, 10,000 resamples; of a Fréchet distance the jackknife over the patients "
        "of the real pairs. Tests: Wilcoxon's signed-rank, two-sided, paired by patient, uncorrected.",
        "Seeds vary the U-Nets' trainings alone: each GAN was trained once, each stack drawn once.",
        f"Seeds {seeds}. {versions}. Commit {results.about.get('commit', 'not recorded')}"
        f"{' (with changes that are not committed)' if str(results.about.get('commit', '')).endswith('+') else ''}.",
    ]  # fmt: skip


def _listed(numbers: list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _number(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")
