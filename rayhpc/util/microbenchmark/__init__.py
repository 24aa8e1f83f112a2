"""The rows of `rayhpc microbenchmark`: Ray's own, each beside what a user has without a cluster.

`rows.all_rows` is called by `cli.microbenchmark`, and by `tests/bench/vs_ray.py`, which runs the
very same rows on the real Ray: nothing in this package imports either (and so it imports itself
relatively), `Setting.ray` is whichever it is.  Measures only; prints nothing.
"""
