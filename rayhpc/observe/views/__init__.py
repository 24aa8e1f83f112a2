"""The parts of a report: each module one typed view, a pure function of the snapshot.

`everything` combines them.  The report, `--json` and everything else that shows a cluster use
these, so that a figure is the same everywhere.  Times in views are seconds since the program's
start, unless stated otherwise.
"""
