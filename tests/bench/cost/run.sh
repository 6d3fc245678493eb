#!/usr/bin/env bash
# Installs the peers of the benchmark `cost` (rclone by apt, requests and boto3 into target/peers), and runs it.
#   tests/bench/cost/run.sh [bytes|slow|polls|inserts|queue|idle ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

if ! command -v rclone >/dev/null; then
    apt-get install --yes --no-install-recommends rclone
fi
if [[ ! -x target/peers/bin/python ]]; then
    python3 -m venv target/peers
    target/peers/bin/pip install --quiet boto3 requests
fi
exec cargo bench --locked --bench cost -- "$@"
