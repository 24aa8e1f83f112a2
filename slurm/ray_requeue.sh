#!/bin/bash
# A job that comes back: after a preemption, a lost node, or a minute before its time is up it is
# queued again, and the program goes on from its checkpoint.
#   sbatch ray_requeue.sh python train.py     your program, which must keep one
#SBATCH --job-name=ray-requeue
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=10
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
#SBATCH --output=ray-requeue-%j.out

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export CHECKPOINT=${CHECKPOINT:-checkpoint-$SLURM_JOB_ID.json}

# USR1 comes to this shell only: tell the program to end (it writes its checkpoint when it is told),
# then queue the job again.
again() { kill -TERM "$step" 2>/dev/null; wait "$step"; scontrol requeue "$SLURM_JOB_ID"; }
trap again USR1

if [ $# -eq 0 ]; then set -- python -m rayhpc.examples.checkpoint; fi
srun rayhpc run -- "$@" &
step=$!
wait "$step"
