#!/bin/bash
# One large node for the head, two small ones: a heterogeneous job, joined as one cluster.
# The nodes of component N carry the label rayhpc.io/component=N.
#   sbatch ray_het.sh python train.py     your program
#SBATCH --job-name=ray-het --time=10 --output=ray-het-%j.out
#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=4
#SBATCH hetjob
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=2

if [ $# -eq 0 ]; then set -- python -m rayhpc.examples.components; fi
# --overlap: the components are parts of one step.  `rayhpc run` alone would do the same.
srun --het-group=0,1 rayhpc run -- "$@"
