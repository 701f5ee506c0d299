#!/bin/bash
# Rows on all GPUs of an allocation: a Ray node on each host, the driver on the first one.
#SBATCH --nodes=4 --ntasks-per-node=1 --gpus-per-node=8 --cpus-per-task=32 --time=12:00:00
#SBATCH --signal=B:TERM@120 --requeue
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
# A token of this job, in a folder that all hosts see and nobody else reads.
export RAY_AUTH_TOKEN_PATH=$HOME/.llmkit-ray/$SLURM_JOB_ID
mkdir -p -m 700 "${RAY_AUTH_TOKEN_PATH%/*}"
(umask 077; openssl rand -hex 32 > "$RAY_AUTH_TOKEN_PATH")
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
PORT=$((6400 + SLURM_JOB_ID % 1000))
RUN=(srun --overlap --ntasks-per-node=1)
"${RUN[@]}" --nodes=1 -w "$HEAD" ray start --head --port="$PORT" --object-store-memory=1000000000 --block &
sleep 20
if [ "$SLURM_NNODES" -gt 1 ]; then
  "${RUN[@]}" --nodes=$((SLURM_NNODES - 1)) -x "$HEAD" ray start --address="$HEAD:$PORT" \
    --object-store-memory=1000000000 --block &
  sleep 20
fi
# SIGTERM two minutes before the end: what is done is kept, and the requeued job goes on.
"${RUN[@]}" --nodes=1 -w "$HEAD" llmkit generate -m "$MODEL" --input "$INPUT" -o "$OUTPUT" --resume \
  --cluster "$HEAD:$PORT" --on-error skip &
DRIVER=$!
trap 'kill -TERM $DRIVER' TERM
wait $DRIVER || wait $DRIVER
