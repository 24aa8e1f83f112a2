"""The batch systems: one folder each, and what they share.

`system` defines what a batch system is, `registry` where they come from, `detect` whose allocation
a process runs in, `choose` which one takes jobs from this machine.  Called by `rayhpc.launch` and
the commands of `rayhpc.cli`.  Knows nothing of tasks, objects or raylets; what it starts is always
`rayhpc run`.
"""
