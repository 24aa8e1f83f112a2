"""What the scheduler granted: from an environment to facts, and from facts to a node's size.

Used by `launch`, `raylet` and `rayhpc doctor`.  Everything here is a pure function of the
environment and of what `machine` found; nothing ever queries a scheduler's controller.
"""
