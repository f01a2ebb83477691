"""What pairs and networks give away about patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tofgan_monai.cli.app import app
from tofgan_monai.errors import InputError


@app.command()
def canary(
    members: Annotated[Path, typer.Argument(help="stack of the training's real pairs")],
    output: Annotated[Path, typer.Argument(help="the stack's .npy, to train on in the members' place")],
    times: Annotated[int, typer.Option(min=2, help="how often the canary's pairs are there")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="of the draw of the patient")] = 0,
) -> None:
    """Repeat one patient's pairs in a stack: an audit must catch whoever trains on it."""
    from tofgan_monai.attacks.canary import plant_canary

    manifest = plant_canary(members, output, times=times, seed=seed)
    typer.echo(f"{output}: {manifest['n']} pairs, those of patient {manifest['canary']['patient']} {times} times")


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="a synthetic stack's .npy, or a bundle's name or folder")],
    output: Annotated[Path, typer.Argument(help="audit.json and pages; go on with the same command")],
    members: Annotated[Path, typer.Option(help="stack of the pairs that were trained on")],
    non_members: Annotated[Path, typer.Option(help="pairs of held-out patients of the same site")],
    references: Annotated[Path, typer.Option(help="pairs of further patients, who are neither")],
    run: Annotated[Path | None, typer.Option(help="output folder of the training; its critic is attacked, too")] = None,
    canary: Annotated[list[Path] | None, typer.Option(help="stack of `tofgan canary`; may be repeated")] = None,
    canary_run: Annotated[
        list[Path] | None, typer.Option(help="output folder of the same training on it, one for each")
    ] = None,
    shadow: Annotated[
        list[Path] | None, typer.Option(help="weights of a segmentation of other patients; may be repeated")
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="pairs that a generator makes")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="of their latents")] = 0,
    pairs_per_patient: Annotated[int, typer.Option(min=1, help="of each stack, at most")] = 50,
    inception_weights: Annotated[Path | None, typer.Option(help="of the original FID; else EfficientNet-Lite0")] = None,
) -> None:
    """Measure how good synthetic pairs are, and what they or a network give away of patients."""
    from tofgan_monai.audit import audit

    stacks, runs = canary or [], canary_run or []
    if len(stacks) != len(runs):
        raise InputError(f"{len(stacks)} --canary and {len(runs)} --canary-run; give a training for each stack")
    found = audit(
        target,
        output,
        members=members,
        non_members=non_members,
        references=references,
        run=run,
        canaries=list(zip(stacks, runs, strict=True)),
        shadows=shadow or (),
        n=n,
        seed=seed,
        pairs_per_patient=pairs_per_patient,
        inception_weights=inception_weights,
    )
    for release, verdict in found["verdicts"].items():
        typer.echo("\n  - ".join([f"{release}: {verdict['outcome']}", *verdict["reasons"]]))
    typer.echo(f"{output / 'audit.html'} (shows patients' patches; audit_for_sharing.html shows none)")
