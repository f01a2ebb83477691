"""Commands `canary` and `audit`, which measure what synthetic pairs and networks give away about training patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tofgan_monai.cli.app import ForceOption, app, quiet_monai, require_new_stack
from tofgan_monai.errors import InputError


@app.command()
def canary(
    members: Annotated[
        Path,
        typer.Argument(help="stack (.npy) that the training used; for a 3D network its cohort's folder"),
    ],
    output: Annotated[
        Path, typer.Argument(help="new stack (.npy), or folder of the new cohort; train on it with the same settings")
    ],
    times: Annotated[
        int, typer.Option(min=2, help="number of times that each pair or scan of the chosen patient occurs")
    ] = 50,
    seed: Annotated[int, typer.Option(min=0, help="seed of the random choice of the patient")] = 0,
    force: ForceOption = False,
) -> None:
    """Write a stack or cohort in which one patient is repeated, to test whether an audit recognises this patient."""
    require_new_stack(output, force=force)
    from tofgan_monai.attacks.canary import plant_canary, plant_head_canary

    if members.suffix != ".npy":
        planted = plant_head_canary(members, output, times=times, seed=seed)
        typer.echo(f"{output} lists each scan of training patient {planted.patient} {times} times")
        return
    manifest = plant_canary(members, output, times=times, seed=seed)
    n, patient = manifest["n"], manifest["canary"]["patient"]
    typer.echo(f"{output} has {n} pairs; each pair of patient {patient} occurs {times} times")


@app.command()
def audit(
    target: Annotated[str, typer.Argument(help="stack of synthetic pairs (.npy), or name or folder of a bundle")],
    output: Annotated[Path, typer.Argument(help="folder for the results; the same command continues a stopped audit")],
    members: Annotated[
        Path, typer.Option(help="stack (.npy) of the training patients' pairs (members); for a 3D network a cohort")
    ],
    non_members: Annotated[
        Path, typer.Option(help="stack of held-out patients' pairs, same site (non-members); or a cohort, split test")
    ],
    references: Annotated[
        Path, typer.Option(help="stack of pairs of further patients, in neither group; or a cohort, split validation")
    ],
    run: Annotated[
        Path | None, typer.Option(help="output folder of the audited training; the critic in it is attacked, too")
    ] = None,
    canary: Annotated[
        list[Path] | None, typer.Option(help="stack or cohort made by `tofgan canary`; may be repeated")
    ] = None,
    canary_run: Annotated[
        list[Path] | None, typer.Option(help="output folder of a training on this stack; give one for each --canary")
    ] = None,
    shadow: Annotated[
        list[Path] | None,
        typer.Option(help="weights of a segmentation network trained on other patients; may be repeated"),
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="number of pairs to make with the generator")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="seed of the latents of these pairs")] = 0,
    pairs_per_patient: Annotated[
        int | None,
        typer.Option(min=1, help="largest number of pairs used from each patient; 50, or 16 windows for a 3D network"),
    ] = None,
    inception_weights: Annotated[
        Path | None, typer.Option(help="weights of the Inception network, for the original FID; optional")
    ] = None,
) -> None:
    """Measure the quality of synthetic pairs, and what the pairs or a network give away about training patients."""
    from tofgan_monai.audit.run import audit
    from tofgan_monai.bundle_runs import paths
    from tofgan_monai.report.audit.page import write_audit_report

    stacks, runs = canary or [], canary_run or []
    if len(stacks) != len(runs):
        raise InputError(
            f"the command has {len(stacks)} `--canary` and {len(runs)} `--canary-run`; give one training for each stack"
        )
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
    typer.echo(f"{page} shows patients' patches, and {shared.name} shows none")
