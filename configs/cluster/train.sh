#!/usr/bin/env bash
# One iteration's training on a GPU node: `training.submit: [sbatch, --wait, configs/cluster/train.sh]`. The driver adds
# campaign, iteration and arm, waits, and submits it again as long as each job gets further than the one before.
#SBATCH --job-name=searcher-train
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@60
set -euo pipefail

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# one process per GPU; `batch_size` must be divisible by their number
torchrun --standalone --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" -m searcher.cli train-iteration "$@" &
training=$!
trap 'kill -TERM "$training"' USR1 TERM # the last checkpoint stays
code=0
wait "$training" || code=$?
if kill -0 "$training" 2>/dev/null; then # the trap cut the wait short
    code=0
    wait "$training" || code=$?
fi
exit "$code"
