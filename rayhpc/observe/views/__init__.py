"""The parts of a report: each module one typed view, a pure function of the snapshot.

`everything` has them all.  The report, `--json` and whatever else shows a cluster take these, so
that a figure is the same wherever it is read.  Times in views are seconds since the program's
start, unless they say otherwise.
"""
