#!/bin/sh
# What a CI pipeline does with Flexai: submit under a key, wait, keep the log and the files, end as the job ends.
#
#   sh pipeline.sh SPEC [LOG [FOLDER]]
#
#   FLEXAI_URL, FLEXAI_TOKEN   the platform, and a token (of a service account, so that it outlives its maker)
#   RUN_ID                     names this run of the pipeline: sent again, it is the same job and never a second one
#   START_WITHIN               how long the job may wait for chips (30m); then it is withdrawn, and this exits with 75
#
# With FOLDER the files that the spec's `outputs` names stand there afterwards, also when the job has failed.
set -eu
spec=${1:?usage: sh pipeline.sh SPEC [LOG [FOLDER]]}
log=${2:-job.log}
code=0
flexai apply -f "$spec" --wait --timeout "${START_WITHIN:-30m}" --idempotency-key "${RUN_ID:?RUN_ID is not set}" \
    ${3:+--download "$3"} > "$log" || code=$?
cat "$log"
exit "$code"
