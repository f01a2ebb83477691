"""What pairs and networks give away about patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tofgan_monai.cli.app import app


@app.command()
def canary(
    members: Annotated[Path, typer.Argument(help="stack of the training's real pairs")],
    output: Annotated[Path, typer.Argument(help="the stack's .npy, to train on in the members' place")],
    times: Annotated[int, typer.Option(help="how often the canary's pairs are there")] = 50,
    seed: Annotated[int, typer.Option(help="of the draw of the patient")] = 0,
) -> None:
    """Repeat one patient's pairs in a stack: an audit must catch whoever trains on it."""
    from tofgan_monai.privacy.canary import plant_canary

    manifest = plant_canary(members, output, times=times, seed=seed)
    typer.echo(f"{output}: {manifest['n']} pairs, those of patient {manifest['canary']['patient']} {times} times")
