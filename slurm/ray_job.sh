#!/bin/bash
# Eight nodes, one program.  Submit it from the repository's root, with the environment activated in
# which rayhpc is installed:  sbatch slurm/ray_job.sh
#SBATCH --job-name=ray
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=10
#SBATCH --output=ray-%j.out

# Since SLURM 22.05 srun no longer takes --cpus-per-task from above.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

srun rayhpc run -- python docs/examples/addresses.py
