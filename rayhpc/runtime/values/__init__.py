"""Values: serialization, ids and references, the client of the node's object store."""
