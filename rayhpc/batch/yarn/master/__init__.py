"""The ApplicationMaster: what runs in the first container of a job, beside rank 0.

`gang` makes the decisions and does nothing else; `events` and `actions` are its vocabulary;
`exit_status` knows what YARN's numbers mean.  `loop` talks to YARN and to rank 0 for it.
"""
