"""Estimates the GPU-hours of the paper's study from counted operations and stated utilisations; it needs no GPU.

    python scripts/estimate_paper.py

The script prints a Markdown table after three minutes on an idle core. Networks, objectives, batch sizes and epochs
come from the bundles' train.yaml and paper.yaml. The number of training runs comes from the study's preset "paper". The
script counts the multiplications and additions of convolutions and matrix products. It does not count norms,
activations, optimisers, reading and writing of files, and scoring on the CPU. The utilisation is the fraction of a
processor's peak speed (operations per second) that the counted operations reach.
"""

from __future__ import annotations

import inspect
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tofgan_monai import PooledDice
from tofgan_monai.bundle_runs.paths import bundles_dir
from tofgan_monai.phantom import simulate_head
from tofgan_monai.study.plan import arms, draws, grid_points, training_sets
from tofgan_monai.study.settings import read_settings
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

UNET = "tof_mra_vessel_segmentation"
GANS = {"tof_mra_dcgan": "DCGAN", "tof_mra_wgan_gp": "WGAN-GP", "tof_mra_wgan_gp_sn": "WGAN-GP-SN"}

# Number of pairs that each U-Net is trained on, by the study's preset "paper".
STUDY = read_settings("paper")
PAIRS = STUDY["patients_a"][0] * (STUDY["n_vessel"] + STUDY["n_random"])  # in the real and in each synthetic stack
N_PAIRS = {name: PAIRS * (1 + name.count("+")) for name in training_sets(STUDY)}
POINTS, DOUBLED = len(grid_points(STUDY)), len(STUDY["augmentations"]) - 1
TUNED = [PAIRS] if STUDY["tune"] == "real" else [*N_PAIRS.values()]
TUNING = [n * doubled for n in TUNED for doubled in [1] * POINTS + [2] * DOUBLED]
TABLE_2 = [*N_PAIRS.values()] * len(STUDY["seeds"])
PATIENTS = [int(name.split("_")[0]) for name in draws(STUDY)]
TRANSFER = [PAIRS // STUDY["patients_a"][0] * k for k in PATIENTS] * (len(arms(STUDY)) * len(STUDY["seeds"]))
# The study segments heads of PEGASUS (312, 384, 127) and 1000Plus (384, 268, 127). Here simulated heads replace them.
VALIDATION_HEADS, TEST_HEADS = ({"A": STUDY["patients_a"][i], "B": STUDY["patients_b"][i]} for i in (1, 2))
HEAD_SEED = 0
N_GPUS = 16

CARDS = {  # dense peak in TFLOP/s, from the manufacturers' data sheets
    "GTX 1080 Ti fp32": 11.3,
    "A100 TF32": 156.0,
    "A100 bf16": 312.0,
    "H100 SXM bf16": 989.0,
}
ASSUMED_UTILISATION = 0.25
MEASURED_BATCHES = (4, 8)
MATRIX = 2048
REPETITIONS = 3


@dataclass(frozen=True)
class Rate:
    """Number of operations for one pair or window, and the fraction of this CPU's peak speed that was measured."""

    operations: float
    utilisation: float


@dataclass(frozen=True)
class Work:
    """Row of the table: number of operations of a kind of work, of its longest single job, and the utilisation."""

    operations: float
    longest: float
    utilisation: float


def recipe(bundle: str, *configs: str) -> ConfigParser:
    """Reads a bundle's YAML files for use on the CPU; returns the parser, without any object instantiated yet."""
    parser = ConfigParser()
    parser.read_config([bundles_dir() / bundle / "configs" / f"{name}.yaml" for name in configs])
    parser["device"] = torch.device("cpu")
    return parser


def count(work: Callable[[], object]) -> int:
    """Runs `work`; returns the number of operations in its convolutions and matrix products, with backward passes."""
    counter = FlopCounterMode(display=False)
    # FlopCounterMode's module hooks refuse autograd.grad of a leaf, which the gradient penalty needs.
    tracker: Any = nullcontext()
    tracker.parents = {"Global"}
    counter.mod_tracker = tracker
    with counter:
        work()
    return counter.get_total_flops()


def per_pair(work: Callable[[int], object]) -> float:
    """Number of operations of `work` for one pair, computed from a batch of two pairs.

    The operations of a batch are proportional to the batch size.
    """
    return count(lambda: work(2)) / 2


def seconds(work: Callable[[], object]) -> float:
    """Runs `work` and returns its processor time in seconds; wall time would include waiting for other processes."""
    start = time.process_time()
    work()
    return time.process_time() - start


class Speedometer:
    """Measures speeds on one thread of this CPU, each just before or after the CPU's peak speed.

    The peak speed is the speed of a large matrix product or of a large convolution.
    """

    def __init__(self) -> None:
        self.matrices = torch.rand(2, MATRIX, MATRIX)
        self.images = torch.rand(4, 256, 48, 48).contiguous(memory_format=torch.channels_last)
        self.kernels = torch.rand(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
        self.matmuls: list[float] = []  # operations per second
        self.convolutions: list[float] = []
        torch.mm(*self.matrices)
        torch.conv2d(self.images, self.kernels, padding=1)

    def peak(self) -> float:
        """Measures a matrix product and a 3x3 convolution with 256 channels; returns the higher speed per second."""
        self.matmuls.append(2 * MATRIX**3 / seconds(lambda: torch.mm(*self.matrices)))
        operations = 2 * self.images.numel() * self.kernels[0].numel()
        self.convolutions.append(operations / seconds(lambda: torch.conv2d(self.images, self.kernels, padding=1)))
        return max(self.matmuls[-1], self.convolutions[-1])

    def utilisation(self, work: Callable[[int], object], operations: float) -> float:
        """Fraction of the peak speed that the added pairs of a larger batch reach, as a median over repetitions.

        The time for the added pairs is the time of a batch of 8 minus the time of a batch of 4. So costs that do not
        depend on the batch size (optimisers, spectral norm) are left out. These costs are negligible at the paper's
        batch size, but large at the batch sizes measured here.

        Args:
            work: function that processes a batch of the given size.
            operations: number of operations for one pair.
        """
        small, large = MEASURED_BATCHES
        work(large)
        shares = []
        for _ in range(REPETITIONS):
            further = seconds(lambda: work(large)) - seconds(lambda: work(small))
            shares.append(operations * (large - small) / further / self.peak())
        return statistics.median(shares)


def gan_rates(bundle: str, speed: Speedometer) -> tuple[dict[str, Rate], int, str]:
    """Measures a GAN on this CPU; returns its rates for "training" and "generation", its epochs and a description."""
    parser = recipe(bundle, "train", "paper")
    step, epochs, batch = parser.get_parsed_content("train#step"), parser["max_epochs"], parser["batch_size"]
    reals = torch.rand(max(MEASURED_BATCHES), 2, PATCH_SIZE, PATCH_SIZE) * 2 - 1

    def train(n: int) -> None:
        step(None, {"reals": reals[:n]})

    @torch.no_grad()
    def generate(n: int) -> Tensor:
        return step.generator.network.eval()(step.latents(n))

    critic_steps, counts = step.critic_steps, {}
    for step.critic_steps in (1, 2):
        counts[step.critic_steps] = per_pair(train)
    critic = counts[2] - counts[1]
    generator = counts[1] - critic
    training = critic_steps * critic + generator
    reached, made = speed.utilisation(train, counts[2]), per_pair(generate)
    made_at = speed.utilisation(generate, made)
    per_epoch = math.ceil(PAIRS / batch)
    line = (
        f"{GANS[bundle]}: {critic / 1e9:.2f} GFLOP a pair in a critic step, {generator / 1e9:.2f} in a generator step, "
        f"{made / 1e9:.2f} to generate it; batch {batch}, {per_epoch} x {epochs} = {per_epoch * epochs:,} generator "
        f"steps of {critic_steps} critic step{'s' * (critic_steps > 1)}; utilisation {reached:.2f}"
    )
    rates = {"training": Rate(training, reached), "generation": Rate(made, made_at)}
    return rates, epochs, line


def unet_rates(speed: Speedometer) -> tuple[dict[str, Rate], int, str]:
    """Measures the U-Net on this CPU; returns its rates for "training" and "inference", its epochs and a description.

    The rate of training is per patch, the rate of inference per window.
    """
    parser = recipe(UNET, "train", "paper")
    network, optimizer, loss = (parser.get_parsed_content(name) for name in ("network", "optimizer", "loss"))
    images = torch.rand(max(MEASURED_BATCHES), 1, PATCH_SIZE, PATCH_SIZE).contiguous(memory_format=torch.channels_last)
    labels = (images > 0.99).float()

    def train(n: int) -> None:
        optimizer.zero_grad()
        loss(network(images[:n]), labels[:n]).backward()
        optimizer.step()

    @torch.no_grad()
    def infer(n: int) -> Tensor:
        return network(images[:n])

    rates = {}
    for name, work in (("training", train), ("inference", infer)):
        operations = per_pair(work)
        rates[name] = Rate(operations, speed.utilisation(work, operations))
    training, inference = rates["training"], rates["inference"]
    line = (
        f"U-Net of width {parser['width']}: {training.operations / 1e9:.2f} GFLOP a training patch, "
        f"{inference.operations / 1e9:.2f} a window; utilisation {training.utilisation:.2f} and "
        f"{inference.utilisation:.2f}"
    )
    return rates, parser["max_epochs"], line


def windows_in(source: str) -> int:
    """Simulates a head of a site ("A" or "B"); returns the number of windows that the segmentation bundle processes."""
    head = simulate_head(source, HEAD_SEED)
    seen = 0

    def look(windows: Tensor) -> Tensor:
        nonlocal seen
        seen += len(windows)
        return windows

    inferer = recipe(UNET, "inference").get_parsed_content("inferer")
    inferer(torch.from_numpy(head.image * head.mask).float()[None, None], look)
    return seen


def unet_trainings(pairs: Sequence[int], epochs: int, rates: Mapping[str, Rate]) -> Work:
    """Computes the work of U-Net training runs, with the Dice on validation pairs after each epoch.

    Args:
        pairs: number of training pairs of each run.
        epochs: number of epochs of each run.
        rates: rates for "training" and "inference", see `unet_rates`.
    """
    validation = inspect.signature(PooledDice).parameters["n"].default
    each = [epochs * (n * rates["training"].operations + validation * rates["inference"].operations) for n in pairs]
    return Work(sum(each), max(each), rates["training"].utilisation)


def evaluations(n_heads: Mapping[str, int], windows: Mapping[str, int], rate: Rate) -> Work:
    """Computes the work of segmenting heads; the longest single job is one network on all test heads.

    Args:
        n_heads: number of heads to segment, by site.
        windows: number of windows in one head, by site.
        rate: rate of inference per window.
    """
    once = {site: windows[site] * rate.operations for site in windows}
    total = sum(n * once[site] for site, n in n_heads.items())
    return Work(total, sum(TEST_HEADS[site] * once[site] for site in once), rate.utilisation)


def hours(operations: float, utilisation: float, card: str) -> float:
    """GPU-hours for a number of operations at a fraction (`utilisation`) of the peak speed of a card in CARDS."""
    return operations / (utilisation * CARDS[card] * 1e12) / 3600


def row(name: str, operations: float, of_card: Callable[[str, bool], float]) -> str:
    """Markdown row of the table: for each card, GPU-hours at the measured and at the assumed utilisation."""
    cells = (f"{of_card(card, True):.3g} / {of_card(card, False):.3g}" for card in CARDS)
    return f"| {name} | {operations:.2e} | " + " | ".join(cells) + " |"


def table(works: Mapping[str, Work], chain: Sequence[str]) -> str:
    """Markdown table of GPU-hours for each kind of work, and of hours for all work on one GPU and on 16 GPUs.

    On 16 GPUs each job uses one GPU, so all work takes at least as long as the chain of the longest jobs.

    Args:
        works: the kinds of work by name.
        chain: names of the kinds of work that must run one after the other.
    """

    def total(names: Sequence[str], field: str) -> Callable[[str, bool], float]:
        def of_card(card: str, measured: bool) -> float:
            pairs = ((works[name].utilisation if measured else ASSUMED_UTILISATION, works[name]) for name in names)
            return sum(hours(getattr(work, field), utilisation, card) for utilisation, work in pairs)

        return of_card

    one_gpu, longest = total(list(works), "operations"), total(chain, "longest")
    lines = ["| | operations | " + " | ".join(CARDS) + " |", "|---|---|" + "---|" * len(CARDS)]
    lines += [row(name, work.operations, total([name], "operations")) for name, work in works.items()]
    everything = sum(work.operations for work in works.values())
    lines.append(row("**One GPU, hours**", everything, one_gpu))
    lines.append(row("Longest chain, hours", sum(works[name].longest for name in chain), longest))
    lines.append(row(f"**{N_GPUS} GPUs, hours**", everything, lambda *of: max(one_gpu(*of) / N_GPUS, longest(*of))))
    return "\n".join(lines)


def main() -> None:
    """Counts the operations, measures the utilisations and prints the estimate."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # with two threads, processor time would include the time that they wait for each other
    speed = Speedometer()
    windows = {site: windows_in(site) for site in TEST_HEADS}
    rates, epochs, line = unet_rates(speed)
    lines, works, generation = [], {}, []
    for bundle, name in GANS.items():
        gan, gan_epochs, gan_line = gan_rates(bundle, speed)
        operations = gan_epochs * PAIRS * gan["training"].operations
        works[f"{name}, training"] = Work(operations, operations, gan["training"].utilisation)
        generation.append(gan["generation"])
        lines.append(gan_line)
    made = PAIRS * generation[0].operations  # all generators have the same architecture
    works[f"{len(GANS)} stacks of {PAIRS:,} pairs"] = Work(len(GANS) * made, made, generation[0].utilisation)
    for title, pairs in (("tuning", TUNING), ("table 2", TABLE_2), ("transfer", TRANSFER)):
        works[f"U-Nets, {title}: {len(pairs)} trainings"] = unet_trainings(pairs, epochs, rates)
    on_a, on_b = len(TABLE_2), len(TABLE_2) + len(TRANSFER)
    n_heads = {
        "A": (len(TUNING) + on_a) * VALIDATION_HEADS["A"] + on_a * TEST_HEADS["A"],
        "B": len(TRANSFER) * VALIDATION_HEADS["B"] + on_b * TEST_HEADS["B"],
    }
    works[f"U-Nets, {sum(n_heads.values()):,} whole heads"] = evaluations(n_heads, windows, rates["inference"])
    slowest = max(list(works)[: len(GANS)], key=lambda name: works[name].operations / works[name].utilisation)
    chain = [slowest, *list(works)[len(GANS) :]]

    print("GPU-hours at the utilisation measured on this CPU / at", ASSUMED_UTILISATION, "of peak:\n")
    print(table(works, chain))
    print(
        f"\n- The longest chain is the longest single job of each of these: {'; '.join(chain)}.\n"
        f"- The hours on {N_GPUS} GPUs are all hours divided by {N_GPUS}, or the longest chain if it takes longer."
    )
    print("\nCounted, and measured on this CPU:")
    matmul, convolution = (statistics.median(speeds) / 1e9 for speeds in (speed.matmuls, speed.convolutions))
    print(f"- this CPU's peak, one thread, float32, by processor time: {matmul:.0f} GFLOP/s in a matrix product")
    print(f"  {MATRIX} x {MATRIX}, {convolution:.0f} in a 3x3 convolution of 256 channels; the faster one counts.")
    small, large = MEASURED_BATCHES
    print(f"- utilisation: the share of that peak which pairs {small + 1} to {large} of a step reach (GANs: two critic")
    print(f"  steps and one generator step), the median of {REPETITIONS}, each beside a peak of its own.")
    for text in (*lines, line):
        print(f"- {text}.")
    heads = "; ".join(f"{n:,} in a head like site {site}'s" for site, n in windows.items())
    print(f"- windows inside the brain's box (simulated heads, seed {HEAD_SEED}): {heads}.")
    print("\nAssumed:")
    print(
        "- peaks as the makers state them: " + ", ".join(f"{card} {peak} TFLOP/s" for card, peak in CARDS.items()) + "."
    )
    print(
        f"- a GPU reaches {ASSUMED_UTILISATION} of its peak, or this CPU's utilisation: neither was measured on a GPU."
    )
    amps = {name: recipe(bundle, "train", "paper")["amp"] for bundle, name in {**GANS, UNET: "U-Net"}.items()}
    fp32 = ", ".join(name for name, amp in amps.items() if not amp) or "none"
    print(f"- the bf16 columns need `amp: true`, which is not set for: {fp32}; a GTX 1080 Ti needs `--amp false`.")
    print("- narrow layers (the U-Net's 32 channels) may wait for a GPU's memory and stay below these shares.")
    print("- norms and activations add to the time of the measured utilisation, but are not counted as operations;")
    print("  optimisers, data loading, distances on the CPU, failed and repeated runs are in neither figure.")


if __name__ == "__main__":
    main()
