"""What a clinic changes honestly passes, and the list says what MONAI makes of its names."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from pydoc import locate

import pytest
import yaml
from monai.bundle import ComponentLocator
from monai.networks.nets import BasicUNet, SegResNet, UNet

import tofgan_monai
from tofgan_monai import Generator, HalfUNet, verify, weights_digest
from tofgan_monai.exchange.archive import Content, write
from tofgan_monai.exchange.data_card import as_text, card
from tofgan_monai.exchange.inspection import allowed as allowed_module
from tofgan_monai.exchange.inspection.allowed import allowed
from tofgan_monai.training.weights import to_safetensors

UNET, GAN = "tof_mra_vessel_segmentation", "tof_mra_wgan_gp_sn"
INFER, TRAIN, EVALUATE, MODEL = (
    "configs/inference.yaml",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "models/model.safetensors",
)
META, LOG = "configs/metadata.json", "configs/logging.conf"


def edit(file, *texts):
    """Places of a file changed: an old text and its new one, another old text ..."""

    def change(files):
        for old, new in zip(texts[::2], texts[1::2], strict=True):
            assert old.encode() in files[file], old
            files[file] = files[file].replace(old.encode(), new.encode(), 1)

    return change


def add(file, text):
    return lambda files: files.update({file: files.get(file, b"") + text.encode()})


def described(**more):
    """Other entries of the metadata."""
    return lambda files: files.update({META: json.dumps({**json.loads(files[META]), **more}, indent=2).encode()})


def network(definition, made):
    """Another network, and weights that fit it."""

    def change(files):
        files[INFER] = re.sub(
            rb"network_def:\n(  .*\n)+", f"network_def: {json.dumps(definition)}\n".encode(), files[INFER], count=1
        )
        files[MODEL] = to_safetensors(made.state_dict())
        told = card(weights_digest(made.state_dict()), [{"kind": "real", "patients": 41}], "a test")
        files["docs/data_card.json"] = as_text(told)

    return change


def augmented(text):
    return edit(TRAIN, "  - _target_: RandAdjustContrastd\n", f"{text}  - _target_: RandAdjustContrastd\n")


def handled(text):
    return edit(TRAIN, '  history: "@train#handlers#0"', f'{text}  history: "@train#handlers#0"')


DEEP = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1}
ON_MANY = """
device: "$torch.device('cuda', torch.distributed.get_rank())"
network: "$torch.nn.parallel.DistributedDataParallel(@network_def.to(@device), device_ids=[@device])"
train#dataloader#sampler:
  _target_: DistributedSampler
  dataset: "@train#dataset"
  even_divisible: true
  shuffle: true
train#handlers#3:
  _target_: TensorBoardStatsHandler
  _disabled_: "$torch.distributed.get_rank() > 0"
  log_dir: "$@output_dir + '/tensorboard'"
initialize:
- "$torch.distributed.init_process_group(backend='gloo')"
- "$torch.cuda.set_device(@device)"
- "$monai.utils.set_determinism(seed=@seed)"
finalize:
- "$torch.distributed.destroy_process_group()"
"""

ON_UNET = {
    "another transform": augmented("  - {_target_: RandGaussianNoised, keys: image, prob: 0.2, std: 0.05}\n"),
    "one with a whole name": augmented("  - {_target_: monai.transforms.RandZoomd, keys: [image, label]}\n"),
    "one of several": augmented(
        "  - _target_: OneOf\n    transforms:\n    - {_target_: RandGaussianSmoothd, keys: image}\n"
        "    - {_target_: RandGaussianSharpend, keys: image}\n"
    ),
    "another optimiser": edit(TRAIN, "torch.optim.Adam\n", "torch.optim.AdamW\n  weight_decay: 1.0e-2\n"),
    "SGD": edit(TRAIN, "torch.optim.Adam\n", "torch.optim.SGD\n  momentum: 0.9\n  nesterov: true\n"),
    "another schedule": edit(
        TRAIN,
        'CosineAnnealingLR\n  optimizer: "@optimizer"\n  T_max: "$@max_epochs * len(@train#dataloader)"',
        'StepLR\n  optimizer: "@optimizer"\n  step_size: "$5 * len(@train#dataloader)"\n  gamma: 0.3',
    ),
    "another loss": edit(TRAIN, "_target_: DiceCELoss", "_target_: TverskyLoss\n  alpha: 0.3\n  beta: 0.7"),
    "a loss of torch": edit(
        TRAIN,
        "  _target_: DiceCELoss\n  sigmoid: true\n  batch: true\n  smooth_nr: 1.0\n  smooth_dr: 1.0",
        "  _target_: torch.nn.BCEWithLogitsLoss",
    ),
    "another output folder": edit(TRAIN, "+ '/output'", "+ '/runs/2nd_try'"),
    "a rate by batch size": edit(TRAIN, "lr: 5.0e-4", 'lr: "$0.00003 * @batch_size"'),
    "a half U-Net with dropout": network(
        {"_target_": "tofgan_monai.HalfUNet", "width": 3, "dropout": 0.2}, HalfUNet(3)
    ),
    "a deeper network": network(
        {
            "_target_": "UNet",
            **DEEP,
            "channels": [4, 8, 16, 32, 64, 128],
            "strides": [2, 2, 2, 2, 2],
            "num_res_units": 2,
            "norm": ["instance", {"affine": True}],
        },
        UNet(2, 1, 1, [4, 8, 16, 32, 64, 128], [2] * 5, num_res_units=2, norm=("instance", {"affine": True})),
    ),
    "BasicUNet": network(
        {"_target_": "monai.networks.nets.BasicUNet", **DEEP, "features": [4, 4, 8, 8, 8, 4]},
        BasicUNet(2, 1, 1, (4, 4, 8, 8, 8, 4)),
    ),
    "SegResNet": network({"_target_": "SegResNet", **DEEP, "init_filters": 8}, SegResNet(2, 8, 1, 1)),
    "stopped early": handled(
        "  - _target_: EarlyStopHandler\n    patience: 5\n    score_function: "
        "\"$monai.handlers.stopping_fn_from_metric('val_dice')\"\n    trainer: null\n"
    ),
    "a checkpoint more": handled(
        '  - _target_: CheckpointSaver\n    save_dir: "@output_dir"\n    save_dict: {network: "@network"}\n'
        "    save_interval: 5\n    final_filename: last.pt\n"
    ),
    "no TensorBoard": edit(TRAIN, "TensorBoardStatsHandler\n", "TensorBoardStatsHandler\n    _disabled_: true\n"),
    "volumes in the memory": edit(INFER, "_target_: Dataset", "_target_: CacheDataset\n  cache_rate: 0.5"),
    "workers": edit(INFER, "num_workers: 0", "num_workers: 4\n  pin_memory: true"),
    "another collation": edit(
        INFER, "num_workers: 0", 'num_workers: 0\n  collate_fn: "$monai.data.pad_list_data_collate"'
    ),
    "a fixed GPU": edit(
        INFER, "\"$torch.device('cuda' if torch.cuda.is_available() else 'cpu')\"", "\"$torch.device('cuda:1')\""
    ),
    "other imports": edit(
        INFER,
        "- $import torch\n",
        "- $import torch\n- $import numpy as np\n"
        "- $from torch import device as on\n- $import torch.distributed as dist\n",
    ),
    "another inferer": edit(
        INFER, "tofgan_monai.BrainWindowInferer\n", "SliceInferer\n  roi_size: [96, 96]\n  spatial_dim: 2\n"
    ),
    "less specks": edit(
        INFER,
        "  - _target_: tofgan_monai.WriteLabeld",
        "  - _target_: RemoveSmallObjectsd\n    keys: pred\n    min_size: 20\n  - _target_: tofgan_monai.WriteLabeld",
    ),
    "resampled input": edit(
        INFER,
        "dataset:\n",
        'spacing: [0.5, 0.5, 0.7]\nresample:\n  _target_: Spacingd\n  keys: image\n  pixdim: "@spacing"\ndataset:\n',
    ),
    "a reader and a writer": edit(
        *(INFER, "tofgan_monai.ReadScand\n", "LoadImaged\n    ensure_channel_first: true\n    reader: ITKReader\n"),
        *("tofgan_monai.WriteLabeld", "SaveImaged\n    output_ext: .nii\n    writer: NibabelWriter"),
    ),
    "another threshold": edit(INFER, "threshold: 0.5  ", "threshold: 0.35 "),
    "another metric": edit(
        EVALUATE,
        "    hd95_mm:\n",
        "    iou:\n      _target_: MeanIoUHandler\n      output_transform: "
        "\"$monai.handlers.from_engine(['pred', 'label'])\"\n    hd95_mm:\n",
    ),
    "an overlay of their own": add(
        "configs/strong.yaml", "lr: 1.0e-4\naugmentation#transforms#3#prob: 0.9\n+augmentation: {lazy: false}\n"
    ),
    "several GPUs": add("configs/many_gpus.yaml", ON_MANY),
    "names with umlauts": described(authors="Klinik K\u00f6ln", changelog={"0.1.0": "erste", "0.0.1": "-"}),
    "docs": add("docs/notes.md", "# F\u00fcr die Station\n\nEine Schwelle von 0,35 \u2026\n"),
    "logging": edit(LOG, "level=INFO\nhandlers=consoleHandler", "level=DEBUG\nhandlers=consoleHandler"),
    "no logging": lambda files: files.pop(LOG),
}
ON_GAN = {
    "other data within the bundle": edit(TRAIN, "+ '/prepared'", "+ '/data/site-A'"),
    "data by the user alone": edit(TRAIN, "dataset_dir: \"$@bundle_root + '/prepared'\"", "dataset_dir: null"),
    "other sizes": edit(TRAIN, "batch_size: 16\nmax_epochs: 30", "batch_size: 300\nmax_epochs: 1000"),
    "another objective": edit(
        TRAIN,
        "WassersteinGP\n  weight: 10.0              # of the gradient penalty\n  penalty_interval: 4",
        "NonSaturating\n  adversarial_weight: 1.0\n  matching_weight: 0.1 # 4",
    ),
    "RMSprop for a critic": edit(
        TRAIN,
        'critic_optimizer:\n  _target_: torch.optim.Adam\n  params: "$@critic.parameters()"\n'
        '  lr: "@critic_lr"\n  betas: "@betas"',
        'critic_optimizer:\n  _target_: torch.optim.RMSprop\n  params: "$@critic.parameters()"\n  lr: "@critic_lr"',
    ),
    "a wider generator": network(
        {"_target_": "tofgan_monai.Generator", "latent_dim": "@latent_dim", "width": 4, "norm": "batch"},
        Generator(width=4),
    ),
    "an overlay in JSON": add("configs/small.json", '{\n\t"batch_size": 4,\n\t"train::step::critic_steps": 2\n}\n'),
}
HONEST = {name: (bundle, change) for bundle, some in ((UNET, ON_UNET), (GAN, ON_GAN)) for name, change in some.items()}


@pytest.mark.parametrize("name", HONEST)
def test_honest_change_passes(name, bundle_files, tmp_path):
    bundle, change = HONEST[name]
    files = bundle_files(bundle)
    change(files)
    assert files != bundle_files(bundle)
    path = tmp_path / "bundle.zip"
    path.write_bytes(write(Content("clinic", json.loads(files[META])["version"], files)))
    assert verify(path).content.files.items() >= files.items()


# ---- the list


def parameters_of(target):
    found = locate(target)
    try:
        return {name for name, p in inspect.signature(found).parameters.items() if p.kind is not p.VAR_KEYWORD}
    except ValueError:
        return set()


def test_every_name_of_the_list_exists_and_is_what_monai_finds_by_it():
    locator = ComponentLocator()
    content = yaml.safe_load(Path(allowed_module.__file__).with_suffix(".yaml").read_text("utf-8"))
    for module, names in content["targets"].items():
        for name in names:
            found = locate(f"{module}.{name}")
            assert callable(found), f"{module}.{name}"
            if module.startswith("monai."):
                modules = locator.get_component_module_name(name)
                first = modules if isinstance(modules, str) else modules[0]
                assert locate(f"{first}.{name}") is found, name
            else:
                assert name.split(".")[-1] not in allowed().targets or "." not in name
    for name in [*allowed().calls, *allowed().values]:
        assert locate(name) is not None, name


def test_calls_take_the_arguments_that_the_list_says():
    for name, arguments in allowed().calls.items():
        if name.startswith(("tofgan_monai.", "monai.")):
            theirs = list(inspect.signature(locate(name)).parameters)
            assert theirs[: len(arguments)] == list(arguments), name


SPEAKING = re.compile(
    r"path|dir$|file|folder|url|uri|root|reader|writer|func$|_fn$|pickle|loader_cls|hub|import|format"
)
HARMLESS = {  # they take objects or numbers; a text has no effect there, or is an ending
    *("collate_fn", "hash_func", "loss_fn", "metric_cmp_fn", "metric_fn", "post_func", "scale_fn", "select_fn"),
    *("epoch_event_writer", "iteration_event_writer", "summary_writer"),
    *("dropout_path_rate", "output_format", "savepath_in_metadict", "separate_folder"),
}


def test_every_argument_that_speaks_of_files_or_code_has_a_rule():
    """Targets are harmless with plain data only if no such argument slips by."""
    known = allowed()
    ruled = known.read | known.written | known.file_names | known.classes.keys() | known.refused
    speaking = {
        (name, target)
        for target in known.targets
        if "." in target
        for name in parameters_of(target)
        if SPEAKING.search(name) and name not in ruled
    }
    assert {name for name, _ in speaking} <= HARMLESS, sorted(speaking)


def test_list_is_of_exact_names():
    assert all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in allowed().targets | set(allowed().calls))
    assert tofgan_monai.__name__ not in allowed().targets
    for never in (
        "Lambdad",
        "RandLambdad",
        "TorchVisiond",
        "PersistentDataset",
        "torch.load",
        "torch.hub.load",
        "os.system",
    ):
        assert never not in allowed().targets and never not in allowed().calls


def test_inspection_knows_no_other_room():
    """So that it can check any MONAI bundle, and can be read by itself."""
    for path in Path(allowed_module.__file__).parent.glob("*.py"):
        for line in re.findall(r"(?m)^\s*(?:from|import) (tofgan_monai\S*)", path.read_text("utf-8")):
            assert line.startswith("tofgan_monai.exchange.inspection."), f"{path.name}: {line}"
