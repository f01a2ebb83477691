#!/usr/bin/env bash
# Checks what this package writes with programs that are not of Python or not ours, with simulated heads; about 10 minutes on two cores:
#   dciodvfy (Debian: dicom3tools) and dcmqi (a wheel, in an environment that is thrown away) on a DICOM series and a DICOM SEG;
#   Orthanc with DICOMweb (Debian: orthanc, orthanc-dicomweb), in a network of its own that has nothing but the loopback;
#   Chromium (Debian: chromium), by playwright (a wheel, thrown away), on pages with vessels that turn: $PICTURES keeps screenshots;
#   scripts/check_sharing.sh, which needs no Debian package.
# It installs no Debian package: it names what is missing. docs/results/README.md holds the output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

needed=(dciodvfy:dicom3tools Orthanc:orthanc unshare:util-linux ip:iproute2 chromium:chromium)
missing=()
for pair in "${needed[@]}"; do
    PATH=$PATH:/usr/sbin command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
done
plugin=/usr/lib/orthanc/libOrthancDicomWeb.so
compgen -G "$plugin*" >/dev/null || missing+=(orthanc-dicomweb)
[ ${#missing[@]} -eq 0 ] || fail "missing Debian packages: install ${missing[*]}"
plugin=$(compgen -G "$plugin*" | head -n 1)

if [ "${1:-}" != --inside ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    export work PATH=$PATH:/usr/sbin

    echo "== versions"
    "$PYTHON" scripts/check_dicom.py versions
    dpkg-query --show dicom3tools orthanc orthanc-dicomweb 2>/dev/null || Orthanc --version | head -n 1

    echo "== a simulated series and its SEG by dciodvfy"
    tofgan phantom "$work/heads" --small -n 2 --dicom
    tofgan segment "$work/heads" "$work/out" --label-only
    for file in "$work"/heads/sub-A10000/image/*.dcm "$work"/out/*.dcm; do
        dciodvfy "$file"
    done 2>&1 | sort | uniq -c
    "$PYTHON" scripts/check_dicom.py same "$work"/out/*.dcm

    echo "== the SEG by dcmqi"
    "$PYTHON" -m venv "$work/dcmqi" && "$work/dcmqi/bin/python" -m pip --disable-pip-version-check install --quiet dcmqi
    "$work/dcmqi/bin/python" -m pip list 2>/dev/null | grep -i dcmqi
    mkdir "$work/by_dcmqi"
    "$work/dcmqi/bin/segimage2itkimage" --inputDICOM "$work/out/sub-A10000_vessels.dcm" --outputDirectory "$work/by_dcmqi" -t nii >/dev/null
    "$PYTHON" scripts/check_dicom.py as-dcmqi "$work"/by_dcmqi/*.nii.gz "$work/out/sub-A10000_vessels.nii.gz"

    echo "== pages with vessels that turn, in Chromium"
    tofgan segment "$work/heads" "$work/pages" --page --no-dicom-seg
    tofgan check "$work/heads" "$work/list" --counts 0,0,2 --n-vessel 1
    tofgan evaluate "$work/list" "$work/report"
    tofgan report "$work/report"
    "$PYTHON" -m pip --disable-pip-version-check install --quiet --target "$work/playwright" playwright
    pictures=${PICTURES:-$work/pictures}
    PYTHONPATH="$PYTHONPATH:$work/playwright" unshare -rn \
        "$PYTHON" scripts/check_page.py "$(command -v chromium)" "$pictures" "$work/pages/sub-A10000_vessels.html" "$work/report/report.html"

    bash scripts/check_sharing.sh

    echo "== an archive"
    unshare -rn bash "${BASH_SOURCE[0]}" --inside
    exit
fi

ip link set lo up
password=$("$PYTHON" -c 'import secrets; print(secrets.token_urlsafe())')
export NETRC=$work/netrc
(umask 077 && echo "machine 127.0.0.1 login anna password $password" >"$NETRC")
cat >"$work/orthanc.json" <<END
{
  "StorageDirectory": "$work/db", "IndexDirectory": "$work/db", "DicomServerEnabled": false, "HttpPort": 8042,
  "AuthenticationEnabled": true, "RegisteredUsers": {"anna": "$password"}, "Plugins": ["$plugin"]
}
END
url=http://127.0.0.1:8042/dicom-web
archive="$PYTHON scripts/check_dicom.py archive $url"

start_orthanc() {
    Orthanc "$work/orthanc.json" >>"$work/orthanc.log" 2>&1 &
    orthanc=$!
    $archive wait || { cat "$work/orthanc.log"; exit 1; }
}

start_orthanc
trap 'kill "$orthanc" 2>/dev/null; wait' EXIT
refused() { # the words after the first are a command that has to fail with the first in its message
    local told
    if told=$("${@:2}" 2>&1); then echo "$told"; fail "not refused: ${*:2}"; fi
    grep -F "$1" <<<"$told" || { echo "$told"; fail "refused with other words than: $1"; }
}

$archive store "$work"/heads/sub-*/image
for study in $($archive studies); do
    tofgan segment "dicomweb:$url" "$work/fetched" --study "$study" --store --label-only
done
$archive compare "$work/fetched" "$work/heads"
$archive large "$work"

study=$($archive studies | sed -n 1p) # not head, which would close the pipe under the writer
refused "has no study 1.2.3" tofgan segment "dicomweb:$url" "$work/none" --study 1.2.3
refused "has no series 1.2.3" tofgan segment "dicomweb:$url" "$work/none" --study "$study" --series 1.2.3
TOFGAN_DICOMWEB_USER=anna TOFGAN_DICOMWEB_PASSWORD=wrong \
    refused "status 401" tofgan segment "dicomweb:$url" "$work/none" --study "$study"
kill "$orthanc" && wait "$orthanc" || true
refused "the archive does not answer" tofgan segment "dicomweb:$url" "$work/none" --study "$study"
[ -z "$(ls -A "$work/none" 2>/dev/null)" ] && echo "nothing was left behind"
start_orthanc
$archive count
