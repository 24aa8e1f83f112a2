"""`import ray`, served by rayhpc.

`shim` prepares a program's environment for it; `path/ray` is what the program imports; `finder`
maps Ray's module names to rayhpc's own modules; `served` contains the modules that only Ray has.
Never installs a top-level package called `ray`.
"""
