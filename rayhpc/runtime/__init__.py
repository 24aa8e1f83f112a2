"""One process taking part in a cluster: a driver or a worker.

Rooms: `owner` (references, lineage, submission), `worker` (what a worker and an actor decide),
`values` (serialization, the store's client, `get` and `put`), `process` (sockets, the leader,
waiting, and what ties the other rooms together).
"""
