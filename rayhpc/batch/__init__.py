"""The batch systems: one folder each, and what they share.

Called by the submit-side commands of `rayhpc.cli`.  Knows nothing of tasks, objects or raylets;
what it starts is always `rayhpc run`.
"""
