#!/usr/bin/env bash
# Checks what leaves with the programs that will read it, with simulated data; 2 minutes of a core, and a download:
#   nnU-Net on an export; mlcroissant and sha256sum on a dataset; the BIDS validator on the segmentations of a BIDS tree.
# nnU-Net and the validator are installed into folders that are thrown away (700 MB). scripts/check_external.sh calls
# this script; docs/results/README.md holds the output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
croissant() { "$PYTHON" -c 'from mlcroissant.scripts.cli import main; main()' "$@"; }
get() { "$PYTHON" -m pip --disable-pip-version-check install --quiet --no-deps --target "$work/$1" "${@:2}"; }

echo "== an export by nnU-Net 2.8.1"
tofgan generate tof_mra_wgan_gp "$work/pairs.npy" -n 200 --seed 0
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
tofgan export "$work/pairs.npy" "$work/raw/Dataset501_TOFpairs" --to nnunet --spacing 0.5,0.5
# Without dependencies, as torchvision would bring another torch with CUDA; these are what planning and preprocessing import.
get nnunet nnunetv2==2.8.1 acvl-utils==0.2.6 batchgenerators==0.25.5 batchgeneratorsv2==0.3.6 \
    dynamic-network-architectures==0.4.4 timm==1.0.22 SimpleITK==2.5.7 connected-components-3d==4.1.1 \
    blosc2==4.14.1 ndindex==1.10.1 msgpack==1.2.4 numexpr==2.14.2 httpx==0.28.1 httpcore==1.0.9 h11==0.16.0 anyio==4.16.0 \
    einops==0.8.2 seaborn==0.13.2 yacs==0.1.8 graphviz==0.21 imagecodecs==2026.3.6 future==1.0.0
PYTHONPATH=$PYTHONPATH:$work/nnunet "$work/nnunet/bin/nnUNetv2_plan_and_preprocess" \
    -d 501 --verify_dataset_integrity -np 1 -c 2d 2>"$work/log" || { cat "$work/log"; exit 1; }

echo "== a dataset by mlcroissant and sha256sum"
tofgan release "$work/pairs.npy" "$work/dataset" --license CC-BY-4.0 --creator "Clinic A" --published 2026-12-01
(cd "$work/dataset" && sha256sum -c SHA256SUMS)
export CROISSANT_CACHE=$work/cache
"$PYTHON" -c 'from importlib.metadata import version; print("mlcroissant", version("mlcroissant"))'
croissant validate --jsonld "$work/dataset/croissant.json"
for records in images labels; do
    croissant load --jsonld "$work/dataset/croissant.json" --record_set $records --num_records 2
done

echo "== segmentations of a BIDS tree by the BIDS validator"
tofgan phantom "$work/heads" --small -n 2
for n in 0 1; do
    mkdir -p "$work/bids/sub-0$n/anat"
    cp "$work/heads/sub-A1000$n/image.nii.gz" "$work/bids/sub-0$n/anat/sub-0${n}_acq-tof_angio.nii.gz"
done
echo '{"Name": "Simulated heads", "BIDSVersion": "1.10.0", "DatasetType": "raw"}' >"$work/bids/dataset_description.json"
tofgan segment "$work/bids"
(cd "$work/bids" && find derivatives -type f | sort)
get validator bids-validator-deno==3.0.2 deno==2.9.8
for tree in "$work/bids" "$work/bids/derivatives/tofgan"; do
    PATH=$work/validator/bin:$PATH PYTHONPATH=$work/validator bids-validator-deno "$tree" --ignoreWarnings
done
