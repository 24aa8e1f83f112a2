"""From allocation to ready cluster and back: sizing, election, rendezvous, start, drain, stop.

Used by `cli`, and by `api` only through `embedded`.  Knows how nodes are started and ended, but
not what runs on them.
"""
