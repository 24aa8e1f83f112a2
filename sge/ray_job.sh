#!/bin/bash
# A Ray program on two hosts of Grid Engine: qsub ray_job.sh
# `hosts` is a parallel environment of your site that takes the same number of slots of each host
# (qconf -spl, qconf -sp NAME: allocation_rule); control_slaves must be TRUE.
#$ -N ray_job
#$ -pe hosts 8
#$ -cwd
#$ -notify

# One rank on each host; all end with the program.
exec rayhpc run -- python addresses.py
