#!/bin/sh
# Submit a run to a Ray cluster; the driver runs on the head node and stays there when this machine leaves.
# The cluster's machines need llmkit (pip install 'llmkit[cluster]'), the same versions on each.
set -eu
export RAY_API_SERVER_ADDRESS=${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}
ray job submit --no-wait -- \
  llmkit generate -m "${MODEL:-stories}" --input "$INPUT" -o "$OUTPUT" --resume --cluster auto --on-error skip
