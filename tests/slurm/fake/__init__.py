"""A SLURM made of small programs: its commands on PATH, real local processes behind them.

`controller` decides and keeps the jobs, `programs` are sbatch, srun and the others, `stepd` runs
one task.  Only what rayhpc uses is there, but what is there behaves and fails as SLURM 22.05 does;
switches make it older, slower, or broken.
"""
