"""The batch systems: one folder each, and what they share.

`system` is what one of them is, `registry` where they come from, `detect` in whose allocation a
process runs, `choose` who takes jobs from this machine.  Called by `rayhpc.launch` and the commands
of `rayhpc.cli`.  Knows nothing of tasks, objects or raylets; what it starts is always `rayhpc run`.
"""
