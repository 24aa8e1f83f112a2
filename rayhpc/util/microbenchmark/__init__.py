"""The rows of `rayhpc microbenchmark`: Ray's own, each beside its equivalent without a cluster.

`rows.all_rows` is called by `cli.microbenchmark`, and by `tests/bench/vs_ray.py`, which runs the
same rows on the real Ray: nothing in this package imports either (so imports within it are
relative), `Setting.ray` is whichever is measured.  Measures only; prints nothing.
"""
