#!/bin/bash
# One large node for the head, two small ones: a heterogeneous job, joined as one cluster.
# The nodes of component N carry the label rayhpc.io/component=N.
#SBATCH --job-name=ray-het --time=10 --output=ray-het-%j.out
#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=4
#SBATCH hetjob
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=2

# --overlap: the components are parts of one step.  `rayhpc run` alone would do the same.
srun --het-group=0,1 rayhpc run -- python docs/examples/components.py
