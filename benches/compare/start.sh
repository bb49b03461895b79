#!/bin/sh
# One worker on what prepare.py wrote into RUNDIR. The harness measures and kills this very process: hence `exec`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${CAMPANILE:-$here/../../target/release/campanile}" run --config "$RUNDIR/campanile.yaml" --apply "$RUNDIR/definitions"
