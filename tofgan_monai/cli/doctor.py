"""The verb doctor, which says what is installed."""

from __future__ import annotations

from typer import echo

from tofgan_monai.cli.app import app


@app.command()
def doctor() -> None:
    """Show versions, device, memory and optional parts; send these lines with a bug report."""
    from tofgan_monai.installation import describe_installation

    echo("\n".join(describe_installation()))
