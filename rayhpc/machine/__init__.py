"""What this computer is: processors, limits, memory, GPUs, interfaces, processes, scratch space.

Read by `allocation`, the raylet and `rayhpc doctor`.  Never knows a batch system, never sends a
message, never looks at processes that are not this user's own session.
"""
