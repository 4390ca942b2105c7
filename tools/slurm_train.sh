#!/usr/bin/env bash
# Train as a Slurm job:
#     tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options of train.py]
# Environment: GPUS (8), GPUS_PER_NODE (8, or GPUS if that is less), CPUS_PER_TASK (5),
# GRES (gpu:GPUS_PER_NODE; empty: none, to train on CPUs, or where GPUs have another name),
# SRUN_ARGS (further options of srun), MASTER_PORT (by the job's number), SIGNAL_TIME (120): seconds
# before the end of the time limit at which the training is asked to stop. In a batch job Slurm
# looks only at that job's own option: #SBATCH --signal=USR1@120
#
# A training that Slurm preempts, or whose time is up, writes a checkpoint and ends with code 75.
# Inside a batch job, the job is then put back into the queue, unless it was canceled; elsewhere srun
# is called again. Both continue the training, as does the same command later, with --resume.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0"
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
shift 3
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then # as OpenMMLab's scripts: the folder without its option
    set -- --work-dir "$@"
fi
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}
GRES=${GRES-gpu:$GPUS_PER_NODE}
# Jobs that share a node need a port each.
export MASTER_PORT=${MASTER_PORT:-$((20000 + ${SLURM_JOB_ID:-$$} % 10000))}
HERE=$(cd "$(dirname "$0")" && pwd)

RESUME=() # after a requeue by Slurm or by this script
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then
    RESUME=(--resume)
fi

train() {
    # SRUN_ARGS is several words on purpose.
    # shellcheck disable=SC2086
    PYTHONPATH="$HERE/..${PYTHONPATH:+:$PYTHONPATH}" \
    srun -p "$PARTITION" \
        --job-name="$JOB_NAME" \
        ${GRES:+--gres="$GRES"} \
        --ntasks="$GPUS" \
        --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="$CPUS_PER_TASK" \
        --kill-on-bad-exit=1 \
        --signal=USR1@"${SIGNAL_TIME:-120}" \
        ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$HERE/train.py" "$CONFIG" --launcher slurm "$@"
}

{ # read as a whole: bash reads on as it goes, and the file may be edited while the job runs
    trap : TERM USR1 # those of Slurm are for the training, which this script outlasts
    set -x
    CODE=0
    train "$@" "${RESUME[@]}" || CODE=$?
    while [ "$CODE" -eq 75 ]; do
        if [ -n "${SLURM_JOB_ID:-}" ]; then
            # scancel sends SIGTERM, too. The job then ends already, and not by its time limit.
            STATE=$(scontrol show job "$SLURM_JOB_ID" | grep JobState=)
            case $STATE in *CANCELLED* | *COMPLETING\ Reason=None*) exit "$CODE" ;; esac
            exec scontrol requeue "$SLURM_JOB_ID"
        fi
        CODE=0
        train "$@" --resume || CODE=$?
    done
    exit "$CODE"
}
