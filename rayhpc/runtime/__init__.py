"""One process of a cluster: a driver or a worker.

Packages: `owner` (references, lineage, submission), `worker` (decisions of a worker and an actor),
`values` (serialization, the store's client, `get` and `put`), `process` (sockets, the leader,
waiting, and what ties the other packages together).
"""
