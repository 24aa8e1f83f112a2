#!/bin/bash
# A cluster of its own for each of four tasks, two of them at a time; they do not see each other.
#   sbatch ray_array.sh python train.py     your program; SLURM_ARRAY_TASK_ID says which task it is
#SBATCH --job-name=ray-array
#SBATCH --array=0-3%2
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=10
#SBATCH --output=ray-array-%A_%a.out

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

if [ $# -eq 0 ]; then set -- python -m rayhpc.examples.word_count; fi
srun rayhpc run -- "$@"
