# Names and functions that several rules use: the words of commands and the names of the study's stacks.
# A stack is a .npy file of image-label pairs. A set is the training data of a U-Net: real, the name of a GAN,
# procedural, or two of these joined by a +.
# The params of a rule hold all words of its command. Snakemake compares the params with those of the last run, so after
# a change of a setting only the rules that depend on this setting run again.

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
    """List of the files of the stacks that a set consists of."""
    return [f"pairs/{name}.npy" for name in wildcards.set.split("+")]


def chosen(wildcards):
    """Returns the file with the options of `tofgan train` that were chosen for a set."""
    return f"tuning/{wildcards.set if config['tune'] == 'each' else 'real'}/chosen.txt"


def volumes(wildcards):
    """Returns the cohort.json of a site and, for the user's own cohort, all files that this cohort.json lists."""
    cohort = config.get(f"cohort_{wildcards.site.lower()}")
    return [cohort, *plan.files_of(cohort)] if cohort else f"heads/{wildcards.site}/cohort.json"


def gan_training(gan, folder, pairs):
    """Returns the words of the command that trains a GAN on a stack, with validation patients of site A.

    Args:
        gan: name of the GAN in the settings.
        folder: output folder of the training.
        pairs: the stack.
    """
    return (
        f"{TRAIN} {shlex.quote(GANS[gan])} --output-dir {folder} --pairs {pairs} "
        f"--validation-pairs pairs/validation_A.npy {config['gan_train']} --width {config['gan_width']}"
    )


def training(folder, pairs, site, options):
    """Returns the words of the commands that train a U-Net and score it on validation patients.

    Args:
        folder: output folder of the training.
        pairs: stacks to train on.
        site: site of the validation patients.
        options: further options of `tofgan train`.
    """
    data = " ".join(f"--pairs {stack}" for stack in pairs)
    return (
        f"{TRAIN} {UNET} {config['unet_train']} {WIDTH} --output-dir {folder} {data} "
        f"--validation-pairs pairs/validation_{site}.npy {options} "
        f"+ {scoring(folder, site, 'validation', f'{folder}/validation.jsonl')}"
    )


def scoring(folder, site, split, results, error_maps=""):
    """Returns the words of the command that scores a trained U-Net on a split of a site.

    Args:
        folder: output folder of the training.
        site: site of the patients.
        split: their split.
        results: the results.jsonl to write.
        error_maps: folder for error maps of the first two patients; "" for none.
    """
    return (
        f"evaluate prepared/{site} {folder}/files --bundle {UNET} --weights {folder}/best.pt {WIDTH} --split {split} "
        f"--results {results} --model {folder.split('/')[1]} --cohort {site} "
        f"--error_maps {shlex.quote(error_maps)} --restart"
    )
