"""Hosts with a real sshd each, as network namespaces on one machine, for tests.

Needs root and Linux; adds nothing to the machine's own network.  See README.md.
"""
