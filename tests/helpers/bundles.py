"""The shipped bundles as a user runs them: with MONAI's command, or its functions in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from monai.bundle import ConfigParser, run

ROOT = Path(__file__).parents[2]
BUNDLES = ROOT / "bundles"


def configs(name, *files):
    return [str(BUNDLES / name / "configs" / file) for file in files]


def run_bundle(name, *files, **overrides):
    """In this process, as MONAI's start costs seconds; without logging.conf, which takes pytest's handlers away."""
    run(config_file=configs(name, *files), bundle_root=str(BUNDLES / name), logging_file=False, **overrides)


def command(*words, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "monai.bundle", *map(str, words)]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def parsed(name, *files):
    parser = ConfigParser()
    parser.read_config(configs(name, *files))
    return parser


def metadata(name):
    return json.loads((BUNDLES / name / "configs" / "metadata.json").read_text("utf-8"))


def inference_files(name):
    return {"meta_file": configs(name, "metadata.json")[0], "config_file": configs(name, "inference.yaml")[0]}
