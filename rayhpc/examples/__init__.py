"""Small whole programs to try a cluster with: `python -m rayhpc.examples.addresses`.

What the ready-made job scripts (`rayhpc template list`) run where they are given no program.
"""
