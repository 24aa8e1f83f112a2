"""Hadoop from pure Python: its RPC, tokens, configuration, and the services of YARN.

A library in its own right, on the standard library alone: it knows nothing of the rest of rayhpc.

- `protobuf/`, `messages/`: what travels, as typed classes
- `rpc/`: one connection to one server, with its authentication
- `configuration`, `resource_managers`: the XML files, and where the ResourceManagers are
- `tokens`, `writable`: who we are to a service, and the files that carry it
- `failover`, `client`, `master`, `node_manager`: the services, across restarts and fail-overs
- `spnego`: Kerberos for what only HTTP offers
- `ids`, `resources`: names and sizes as YARN writes them
"""
