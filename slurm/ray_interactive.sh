#!/bin/bash
# A cluster to work with by hand, on two nodes, until you leave it:
#   bash ray_interactive.sh            a Python connected to it
#   bash ray_interactive.sh COMMAND…   a command of yours instead
# Options for salloc:  SALLOC_PARTITION=… SALLOC_TIMELIMIT=… (see its manual).
if [ $# -gt 0 ]; then program=("$@"); else program=(python -i -c 'import rayhpc as ray; ray.init()'); fi

# There is no srun: `rayhpc run` starts the step itself.
exec salloc --job-name=ray-interactive --nodes=2 --ntasks-per-node=1 --cpus-per-task=2 --time="${TIME:-60}" \
    rayhpc run -- "${program[@]}"
