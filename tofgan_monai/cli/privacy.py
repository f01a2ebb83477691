"""The verbs `canary` and `audit`, which measure what pairs and networks give away about patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tofgan_monai.cli.app import app, quiet_monai
from tofgan_monai.errors import InputError


@app.command()
def canary(
    members: Annotated[Path, typer.Argument(help="stack of the real pairs that the training used")],
    output: Annotated[Path, typer.Argument(help="new stack (.npy), to train on in place of the members' stack")],
    times: Annotated[int, typer.Option(min=2, help="how often each pair of the canary occurs")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="seed of the random choice of the patient")] = 0,
) -> None:
    """Repeat one patient's pairs in a stack; an audit must recognise that patient in a training on it."""
    from tofgan_monai.attacks.canary import plant_canary

    manifest = plant_canary(members, output, times=times, seed=seed)
    n, patient = manifest["n"], manifest["canary"]["patient"]
    typer.echo(f"{output}: {n} pairs; each pair of patient {patient} occurs {times} times")


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="a synthetic stack's .npy, or a bundle's name or folder")],
    output: Annotated[Path, typer.Argument(help="folder for the results; the same command continues a stopped audit")],
    members: Annotated[Path, typer.Option(help="stack of the training patients' pairs (members)")],
    non_members: Annotated[Path, typer.Option(help="stack of held-out patients of the same site (non-members)")],
    references: Annotated[Path, typer.Option(help="stack of further patients, who are neither")],
    run: Annotated[Path | None, typer.Option(help="output folder of the training; its critic is attacked, too")] = None,
    canary: Annotated[list[Path] | None, typer.Option(help="stack made by `tofgan canary`; may be repeated")] = None,
    canary_run: Annotated[
        list[Path] | None, typer.Option(help="output folder of the training on that stack; one for each --canary")
    ] = None,
    shadow: Annotated[
        list[Path] | None, typer.Option(help="weights of a segmentation trained on other patients; may be repeated")
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="number of pairs that a generator makes")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="seed of the pairs' latents")] = 0,
    pairs_per_patient: Annotated[int, typer.Option(min=1, help="the most pairs of each patient that are used")] = 50,
    inception_weights: Annotated[Path | None, typer.Option(help="weights for the original FID; optional")] = None,
) -> None:
    """Measure the quality of synthetic pairs, and what they or a network give away about patients."""
    from tofgan_monai.audit import audit
    from tofgan_monai.bundle_runs import paths
    from tofgan_monai.report import write_audit_report

    stacks, runs = canary or [], canary_run or []
    if len(stacks) != len(runs):
        raise InputError(f"{len(stacks)} --canary and {len(runs)} --canary-run; give one training for each stack")
    with quiet_monai(None if Path(target).suffix == ".npy" else paths.bundle_path(target)):
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
    page = write_audit_report(output)
    shared = write_audit_report(output, patches=False)
    for release, verdict in found["verdicts"].items():
        typer.echo("\n  - ".join([f"{release}: {verdict['outcome']}", *verdict["reasons"]]))
    typer.echo(f"{page} (shows patients' patches; {shared.name} shows none)")
