"""From allocation to ready cluster and back: sizing, election, rendezvous, start, drain, stop.

Used by `cli`, and by `api` through `embedded` alone.  Knows how nodes are started and ended, never
what runs on them.
"""
