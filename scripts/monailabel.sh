#!/usr/bin/env bash
# Starts a MONAI Label server on 127.0.0.1 for studies, offline, in an environment of its own (.venv-monailabel); STUDIES
# is a folder of NIfTI files, or the address of an archive's DICOMweb service (http://... or https://...), whose MR series it offers:
#   bash scripts/monailabel.sh STUDIES [monailabel's options, such as --port 8001]
#   bash scripts/monailabel.sh --test        tests this app and MONAI Label's stock app over the server's REST API
#
#   TOFGAN_LABEL_APP=FOLDER   folder of the app and of its weights, which its trainings change; default: monailabel-app.
#                             A folder named monaibundle becomes MONAI Label's stock app of that name.
#   TOFGAN_LABEL_BUNDLE=FOLDER   your own segmentation bundle to start from; default: the shipped one.
#   MONAI_LABEL_DICOMWEB_USERNAME, MONAI_LABEL_DICOMWEB_PASSWORD   user and password for the archive.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

[ $# -gt 0 ] || { sed -n '2,10s/^# \{0,1\}//p' "scripts/monailabel.sh"; exit 1; }

if [ "$1" = --test ]; then
    shift
    source scripts/environment.sh
    exec "$PYTHON" -m pytest -p no:cacheprovider tests/label_app/monailabel_server.py "$@"
fi

venv=$root/.venv-monailabel
requirements=scripts/requirements-monailabel.txt
unset TOFGAN_PYTHON
export PIP_NO_DEPS=1
source scripts/environment.sh
"$PYTHON" -c 'import torch' || fail "PyTorch does not run in $venv, because the CUDA libraries are missing there: set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds, remove $venv and start again."
export PYTHONPATH="$root/scripts/monailabel:$PYTHONPATH"

cd "$caller"
studies=$1
shift
app=${TOFGAN_LABEL_APP:-monailabel-app}
case $studies in
http://* | https://*)
    # MONAI Label would offer CT series, keep copies in the home, offer a labelled series for two hours more, and download dcmqi.
    mr='{"Modality": "MR"}'
    export MONAI_LABEL_DICOMWEB_SEARCH_FILTER=${MONAI_LABEL_DICOMWEB_SEARCH_FILTER:-$mr}
    export MONAI_LABEL_DICOMWEB_CACHE_PATH=${MONAI_LABEL_DICOMWEB_CACHE_PATH:-$app/archive}
    export MONAI_LABEL_DICOMWEB_CACHE_EXPIRY=${MONAI_LABEL_DICOMWEB_CACHE_EXPIRY:-0}
    export PATH=$venv/bin:$PATH
    ;;
*) [ -d "$studies" ] || fail "$studies: no such folder; give the folder of the studies, or an address that begins with http:// or https://" ;;
esac
options=()
if [ "$(basename "$app")" = monaibundle ]; then
    [ -e "$app/main.py" ] || "$PYTHON" -m monailabel.main apps --download --name monaibundle --output "$(dirname "$app")"
    options=(--conf models tof_mra_vessel_segmentation_3d --conf zoo_source local --conf sam2 false)
fi
"$PYTHON" -m tofgan_monai.label_app "$app" "${TOFGAN_LABEL_BUNDLE:-tof_mra_vessel_segmentation_3d}"

# Scoring runs the network several times on every study, so it runs only on request and does not slow down the annotation.
export MONAI_LABEL_AUTO_UPDATE_SCORING=false
exec "$PYTHON" -m monailabel.main start_server --app "$app" --studies "$studies" --host 127.0.0.1 "${options[@]}" "$@"
