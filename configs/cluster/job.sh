#!/usr/bin/env bash
# One campaign as a SLURM job: driver and scheduler on the first node, one Dask worker per task on all of them.
# Copy it, set the lines below to your cluster's, and `sbatch job.sh my-campaign.yaml`.
#SBATCH --job-name=searcher
#SBATCH --ntasks=64
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
config=$1
shift

export OMP_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__DAEMON=False             # a worker keeps a process of its own for each relaxation
export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="2 hours"  # above `execution.deadline_s`
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=3
scheduler="$PWD/scheduler-$SLURM_JOB_ID.json"

# any free port: another job may have its scheduler on this node
dask scheduler --scheduler-file "$scheduler" --port 0 --dashboard-address :0 --no-dashboard &
srun --kill-on-bad-exit=0 dask worker --scheduler-file "$scheduler" --nthreads 1 --no-dashboard --death-timeout 600 &

searcher run "$config" "$@" --set execution.executor=dask --set execution.scheduler="$scheduler" &
driver=$!
# the batch shell gets the warning two minutes before the end; the driver saves and ends with 75
trap 'warned=1; kill -USR1 "$driver" || true' USR1 TERM
# a signal cuts a wait short; the next one tells how it ended
code=0
warned=1
while [ -n "$warned" ]; do
    warned=
    code=0
    wait "$driver" || code=$?
done
# some clusters leave a job's processes behind
kill $(jobs -p) 2> /dev/null || true
wait || true
rm -f "$scheduler"
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
