# What the rules share: the words of their commands and the names of the study's stacks.
# A set is the training data of a U-Net: real, a GAN's name, procedural, or two of these joined by a +.
# Every word of a command is built in a rule's params, from wildcards alone: Snakemake compares params with those of the
# last run, so a changed setting runs again what depends on it, and nothing else.

import json
import shlex
import sys

from tofgan_monai.study import plan
from tofgan_monai.study.plan import UNET

PYTHON = shlex.quote(sys.executable)
TOFGAN = f"{PYTHON} -m tofgan_monai"
STEP = f"{PYTHON} -m tofgan_monai.study.steps"
WIDTH = f"--width {config['unet_width']}"
# A stopped training continues; one that was begun with other settings or pairs starts again.
TRAIN = "train --restart-if-changed"
POINTS = plan.grid_points(config)
SETS = plan.training_sets(config)
SYNTHETIC = plan.synthetic_sets(config)
ARMS, DRAWS, SEEDS, GANS = plan.arms(config), plan.draws(config), config["seeds"], config["gans"]
PLAIN, *AUGMENTATIONS = config["augmentations"]
SAMPLED = plan.sampled_stacks(config)  # name: (site, options of `tofgan extract`)


wildcard_constraints:
    site="A|B|C",
    sampled="|".join(SAMPLED),
    gan="|".join(GANS),
    set="[^/]+",
    seed=r"\d+",
    arm="|".join(ARMS),
    draw=r"\d+_\d+",


def stacks(wildcards):
    """The stacks of pairs that make up a set."""
    return [f"pairs/{name}.npy" for name in wildcards.set.split("+")]


def chosen(wildcards):
    """The file with the options that were chosen for a set."""
    return f"tuning/{wildcards.set if config['tune'] == 'each' else 'real'}/chosen.txt"


def volumes(wildcards):
    """The cohort.json of a site and, if the cohort is the user's own, every file that it lists."""
    cohort = config.get(f"cohort_{wildcards.site.lower()}")
    return [cohort, *plan.files_of(cohort)] if cohort else f"heads/{wildcards.site}/cohort.json"


def training(folder, pairs, site, options):
    """The words that train a U-Net and score it on validation patients."""
    data = " ".join(f"--pairs {stack}" for stack in pairs)
    return (
        f"{TRAIN} {UNET} {config['unet_train']} {WIDTH} --output-dir {folder} {data} "
        f"--validation-pairs pairs/validation_{site}.npy {options} "
        f"+ {scoring(folder, site, 'validation', f'{folder}/validation.jsonl')}"
    )


def scoring(folder, site, split, results):
    """The words that score a trained U-Net, without pictures."""
    return (
        f"evaluate prepared/{site} {folder}/files --weights {folder}/best.pt {WIDTH} --split {split} "
        f"--results {results} --model {folder.split('/')[1]} --cohort {site} --error_maps '' --restart"
    )
