"""Small complete programs for trying out a cluster: `python -m rayhpc.examples.addresses`.

The ready-made job scripts (`rayhpc template list`) run them if they are given no program.
"""
