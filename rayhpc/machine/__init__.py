"""What this computer has: processors, limits, memory, GPUs, interfaces, processes, scratch space.

Used by `allocation`, the raylet and `rayhpc doctor`.  Knows no batch system, sends no messages,
and looks at no processes beyond this user's own session.
"""
