"""Runs the federated training at one clinic: trains on the clinic's own pairs in each round, with MONAI's client.

Only the weights and the number of steps are sent to the server. Images, labels and all other files stay at the clinic.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nvflare.client as flare
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.fl_constant import FLMetaKey
from nvflare.client import FLModel

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import parse_overrides


def main(folder: Path, epochs: int, rounds: int, **overrides: object) -> None:
    """Trains in each round for `epochs` epochs, starting from the weights that the server sends, and sends new weights.

    Args:
        folder: folder that holds a subfolder with the pairs of each clinic.
        epochs: number of epochs in each round.
        rounds: number of rounds.
        **overrides: values that replace keys of the bundle's train.yaml.
    """
    flare.init()
    clinic = flare.get_site_name()
    algo = MonaiAlgo(
        bundle_root=str(bundle_path("tof_mra_vessel_segmentation")),
        local_epochs=epochs,
        send_weight_diff=False,
        config_train_filename="configs/train.yaml",
        config_evaluate_filename=None,
        train_kwargs={
            "pairs": str(folder / clinic / "training.npy"),
            "validation_pairs": str(folder / clinic / "validation.npy"),
            "output_dir": str(folder / clinic / "output"),
            "max_epochs": rounds * epochs,  # the learning rate falls over all rounds together
            **overrides,
        },
    )
    algo.initialize({ExtraItems.CLIENT_NAME: clinic})
    while flare.is_running():
        received = flare.receive()
        algo.train(ExchangeObject(weights=received.params))
        trained = algo.get_weights()
        n_steps = trained.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]
        flare.send(FLModel(params=dict(trained.weights), meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: n_steps}))


if __name__ == "__main__":
    given = parse_overrides([f"--{word}" for word in sys.argv[1:]])
    main(Path(str(given.pop("folder"))), **given)
