#!/bin/bash
# Eight nodes, one program.  Submit it from any directory that the nodes see, with the environment
# activated in which rayhpc is installed:
#   sbatch ray_job.sh python train.py     your program
#   sbatch ray_job.sh                     a small one that lists the nodes
#SBATCH --job-name=ray
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=10
#SBATCH --output=ray-%j.out

# Since SLURM 22.05 srun no longer takes --cpus-per-task from above.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

if [ $# -eq 0 ]; then set -- python -m rayhpc.examples.addresses; fi
srun rayhpc run -- "$@"
