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
trap 'warned=1; kill -TERM $! || true' USR1 TERM # the last checkpoint stays
# one process per GPU; `batch_size` must be divisible by their number
torchrun --standalone --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" -m searcher.cli train-iteration "$@" &
training=$!
# a signal cuts a wait short; the next one tells how it ended
code=0
warned=1
while [ -n "$warned" ]; do
    warned=
    code=0
    wait "$training" || code=$?
done
exit "$code"
