"""The ApplicationMaster: what runs in the first container of a job, beside rank 0.

`gang` decides and does nothing else; `events` and `actions` are its words; `exit_status` knows what
YARN's numbers mean.  `loop` talks to YARN and to rank 0 for it.
"""
