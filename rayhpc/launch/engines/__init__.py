"""What a rank's node can be made of: our own runtime (`own`), or the real Ray (`real_ray`).

The ranks (`head_rank`, `node_rank`) know only `engine.Engine`.
"""
