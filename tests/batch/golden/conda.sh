#!/bin/bash
#SBATCH --job-name=python
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --chdir=/home/ada/work
#SBATCH --output=/home/ada/jobs/20261124-120000-abcdef/stdout
#SBATCH --error=/home/ada/jobs/20261124-120000-abcdef/stderr
#SBATCH --open-mode=append

# The job's private folder; `rayhpc jobs`, `logs` and `wait` look there for output and end.
export RAYHPC_JOB_DIR=/home/ada/jobs/20261124-120000-abcdef
summary="$RAYHPC_JOB_DIR/summary${SLURM_ARRAY_TASK_ID:+.$SLURM_ARRAY_TASK_ID}.json"
export RAYHPC_EXIT_FILE="$summary.exit"
printf -v started '%(%s)T' -1
rm -f "$summary" "$RAYHPC_EXIT_FILE"

finish() {  # finish CODE: note how the job ended, and end it
    # srun says 0 of a step that had to be killed; the program's own code, if it came to one, counts.
    if [ -r "$RAYHPC_EXIT_FILE" ]; then set -- "$(<"$RAYHPC_EXIT_FILE")"
    elif [ -n "$told" ] && [ "$1" = 0 ]; then set -- 79; fi
    rm -f "$RAYHPC_EXIT_FILE"
    sync -d /home/ada/jobs/20261124-120000-abcdef/stdout /home/ada/jobs/20261124-120000-abcdef/stderr 2>/dev/null
    printf '{"job_id": "%s", "exit_code": %d, "started": %d, "ended": %(%s)T, "nodes": "%s", "restarts": %d}\n' \
        "$SLURM_JOB_ID" "$1" "$started" -1 "$SLURM_JOB_NODELIST" "${SLURM_RESTART_COUNT:-0}" \
        >"$summary.part" && mv -f "$summary.part" "$summary"
    exit "$1"
}
give_up() { printf 'rayhpc: %s: %s\n' "$HOSTNAME" "$*" >&2; finish 78; }
told=
trap told=yes TERM INT
trap : USR1 USR2  # the step gets them all, too; this shell stays to note how it ended

command -v conda >/dev/null || give_up 'conda is not on PATH: load its module with --module'
eval "$(conda shell.bash hook)" && conda activate torch ||
    give_up 'conda activate' torch 'failed: see `conda env list`'
command -v rayhpc >/dev/null || give_up 'this environment lacks rayhpc: install it there with pip'

# srun takes neither --cpus-per-task (since 22.05) nor, after --export=NONE, the environment from sbatch.
case $SLURM_JOB_CPUS_PER_NODE in
*,*) ;;  # nodes with different numbers of CPUs: each gives all it has
*) export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}" ;;
esac
export PYTHONUNBUFFERED="${PYTHONUNBUFFERED-1}"

srun --no-kill --kill-on-bad-exit=0 --wait=0 --mpi=none --export=ALL \
    rayhpc run \
    --rendezvous "$RAYHPC_JOB_DIR/rendezvous" \
    -- python train.py
finish $?
