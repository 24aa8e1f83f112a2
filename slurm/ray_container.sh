#!/bin/bash
# The nodes run in a container that has Python and rayhpc; srun itself stays outside.
#   IMAGE=my.sif sbatch ray_container.sh python train.py     your image and program
#SBATCH --job-name=ray-container
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=10
#SBATCH --output=ray-container-%j.out

export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
image=${IMAGE:-rayhpc.sif}

if [ $# -eq 0 ]; then set -- python -m rayhpc.examples.word_count; fi
# The working directory is where the nodes find each other; /tmp holds each node's private sockets.
srun apptainer exec --bind "$PWD,/tmp" --pwd "$PWD" "$image" \
    rayhpc run -- "$@"
