#!/usr/bin/env bash
# The entry point of the container. With the arguments of a BIDS App it segments the scans of a BIDS tree:
#   bids_app BIDS OUTPUT participant [--participant-label 01 02] [options of `tofgan segment`]
# Anything else is a verb: bids_app VERB ... runs `tofgan VERB ...`.
set -euo pipefail

case ${3:-} in
participant) ;;
group)
    echo "error: there is no analysis of the level group; give participant" >&2
    exit 1
    ;;
*) exec tofgan "$@" ;;
esac

bids=$1 output=$2 labels=() options=() reads_labels=false
for word in "${@:4}"; do
    case $word in
    --participant[-_]label) reads_labels=true ;;
    --participant[-_]label=*) labels+=("${word#*=}") ;;
    -*) reads_labels=false options+=("$word") ;;
    *) if $reads_labels; then labels+=("$word"); else options+=("$word"); fi ;;
    esac
done

if [ ${#labels[@]} = 0 ]; then
    exec tofgan segment "$bids" "$output" "${options[@]}"
fi
status=0
for label in "${labels[@]#sub-}"; do # one after the other, so that one without a scan does not keep the others back
    tofgan segment "$bids" "$output" --image "sub-$label/**/anat/{subject}_angio.nii.gz" "${options[@]}" || status=1
done
exit $status
