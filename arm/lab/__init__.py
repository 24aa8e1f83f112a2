"""Azure Resource Manager's API on one machine, for tests: a strict fake, and machines behind it.

The hosts need root and Linux; nobody outside is called.  See README.md.
"""
