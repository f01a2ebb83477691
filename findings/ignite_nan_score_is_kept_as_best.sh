#!/bin/sh
# pytorch-ignite 0.5.5 and MONAI 1.6.1: a first score of NaN is the best score for ever
#
# Expected: `Checkpoint(n_saved=1, score_function=...)` keeps the objects with the highest score, `EarlyStopping` stops
#   after `patience` evaluations without improvement. A NaN is no improvement: later real numbers replace it.
# Seen: a NaN in the middle is passed over, but when the FIRST score is NaN, no later score is greater than it: the
#   file of epoch 1 stays the "best" (m_val=nan.pt), and MONAI's evaluator reports best_metric nan of epoch 1 with
#   CheckpointSaver(save_key_metric=True). EarlyStopping treats NaN as an improvement each time and never stops.
# Versions: pytorch-ignite 0.5.5, monai 1.6.1, torch 2.13.0.
# Who is hurt: a Dice or Hausdorff distance is NaN while the network predicts nothing, which is the usual state after
#   the first epoch. The run ends without an error, and the weights that are shipped are those of epoch 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "pytorch-ignite==0.5.5" "numpy==2.4.6"
cd "$work"
env/bin/python - <<'EOF'
import logging, os, tempfile
import ignite, monai, torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointSaver

print("ignite", ignite.__version__, "monai", monai.__version__)
logging.disable(logging.CRITICAL)
NAN = float("nan")

def by_ignite(scores, patience=9):
    net, folder, engine = torch.nn.Linear(1, 1), tempfile.mkdtemp(dir="."), Engine(lambda engine, batch: None)
    score = lambda e: scores[e.state.epoch - 1]
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: net.weight.data.fill_(e.state.epoch))
    keep = Checkpoint({"m": net}, DiskSaver(folder), n_saved=1, score_name="val", score_function=score)
    engine.add_event_handler(Events.EPOCH_COMPLETED, keep)
    engine.add_event_handler(Events.EPOCH_COMPLETED, EarlyStopping(patience, score, engine))
    engine.run([0], max_epochs=len(scores))
    name, = os.listdir(folder)
    return name, int(torch.load(os.path.join(folder, name))["weight"]), engine.state.epoch

def by_monai(scores):
    net, folder = torch.nn.Linear(1, 1), tempfile.mkdtemp(dir=".")
    metric, batch = {"dice": Average(lambda output: now[0])}, {"image": torch.zeros(1, 1), "label": torch.zeros(1, 1)}
    saver = CheckpointSaver(folder, {"net": net}, save_key_metric=True)
    evaluator = SupervisedEvaluator("cpu", [batch], net, key_val_metric=metric, val_handlers=[saver])
    for epoch, now[0] in enumerate(scores, 1):
        evaluator.run(global_epoch=epoch)
    return evaluator.state.best_metric, evaluator.state.best_metric_epoch, *os.listdir(folder)

now, first, middle = [None], [NAN, 0.5, 0.9], [0.5, NAN, 0.9]
seen = [by_ignite(first), by_ignite(middle), by_monai(first), by_monai(middle)]
stops = by_ignite([0.1] * 9, 2)[2], by_ignite([NAN] * 9, 2)[2]
print(*seen, f"EarlyStopping, patience 2: equal scores end at epoch {stops[0]}, NaN at {stops[1]} of 9", sep="\n")
ok = seen[0][1] == 1 and seen[1][1] == 3 and seen[2][1] == 1 and seen[3][1] == 3 and stops == (3, 9)
raise SystemExit(None if ok else "changed: a first score of NaN is no longer kept as the best")
EOF
echo "as described"
