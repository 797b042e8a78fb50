#!/usr/bin/env bash
# The driver of a campaign as a chain of small SLURM jobs, one at a time: each goes on where the one before was stopped.
# It submits its workers itself (`execution.slurm`) and, if asked to, its trainings (`training.submit`).
# Copy it, set the lines below to your cluster's, and `sbatch driver.sh my-campaign.yaml` where jobs may submit jobs.
#SBATCH --job-name=searcher-driver
#SBATCH --array=1-20%1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
set -euo pipefail
config=$1
shift

export OMP_NUM_THREADS=1
searcher run "$config" "$@" &
driver=$!
# the batch shell gets the warning two minutes before the end; the driver saves and ends with 75
trap 'kill -USR1 "$driver"' USR1 TERM
code=0
wait "$driver" || code=$?
if kill -0 "$driver" 2>/dev/null; then # the trap cut the wait short
    code=0
    wait "$driver" || code=$?
fi
if [ "$code" -ne 75 ]; then # finished, or something that a further job would not mend
    scancel --state=PENDING "$SLURM_ARRAY_JOB_ID"
fi
exit "$code"
