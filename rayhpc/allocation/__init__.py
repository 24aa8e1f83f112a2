"""What the scheduler gave us: from an environment to facts, and from facts to a node's size.

Read by `launch`, `raylet` and `rayhpc doctor`.  Everything here is a pure function of the
environment and of what `machine` found; nothing asks a scheduler's controller, ever.
"""
