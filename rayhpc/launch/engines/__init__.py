"""What can run a rank's node: our own runtime (`own`), or the real Ray (`real_ray`).

The ranks (`head_rank`, `node_rank`) know only `engine.Engine`, made by `choose`.
"""
