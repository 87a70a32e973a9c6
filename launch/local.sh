#!/usr/bin/env bash
# Trains on this machine: launch/local.sh --recipe demo
# Takes every option of `compofa train`; uses the repository's .venv if there is one, else the compofa on the PATH.
set -euo pipefail

compofa="$(dirname "$0")/../.venv/bin/compofa"
[ -x "$compofa" ] || compofa=$(command -v compofa) || {
  echo "There is no compofa here. Make it with: make venv" >&2
  exit 1
}
exec "$compofa" train "$@"
