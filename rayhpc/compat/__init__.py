"""`import ray`, served by rayhpc.

`shim` says what a program's environment must be for it; `path/ray` is what the program imports;
`finder` gives it rayhpc's own modules under Ray's names; `served` holds the modules that only Ray
has.  Never installs a top-level package called `ray`.
"""
