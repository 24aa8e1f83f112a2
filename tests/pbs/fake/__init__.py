"""A strict fake of PBS: what OpenPBS's and Torque's manuals say, on processes of this machine.

No daemon: the programs keep their jobs in files under one lock, and each running job has one
process that looks after it.  An option that the flavour's manual does not have is refused.
"""
