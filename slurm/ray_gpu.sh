#!/bin/bash
# Two nodes with two GPUs each; each task sees the one GPU that it asked for.
#   sbatch ray_gpu.sh python train.py     your program
#SBATCH --job-name=ray-gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=2
#SBATCH --time=10
#SBATCH --output=ray-gpu-%j.out

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

if [ $# -eq 0 ]; then set -- python -m rayhpc.examples.gpus; fi
srun rayhpc run -- "$@"
