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
# the batch shell gets the warning two minutes before the end; the driver saves and ends with 75
trap 'warned=1; kill -USR1 $! || true' USR1 TERM
searcher run "$config" "$@" &
driver=$!
# a signal cuts a wait short; the next one tells how it ended
code=0
warned=1
while [ -n "$warned" ]; do
    warned=
    code=0
    wait "$driver" || code=$?
done
if [ "$code" -ne 75 ]; then # finished, or something that a further job would not mend
    scancel --state=PENDING "$SLURM_ARRAY_JOB_ID"
fi
exit "$code"
