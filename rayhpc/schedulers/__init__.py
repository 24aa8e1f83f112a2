"""The submit side: one module per batch system, and what they share.

Called by the submit-side commands of `rayhpc.cli`.  Knows nothing of tasks, objects or raylets;
what it starts is always `rayhpc run`.
"""
