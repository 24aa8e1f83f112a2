"""Hadoop in pure Python: its RPC, tokens, configuration, and the services of YARN.

A library in its own right, using only the standard library: it knows nothing of rayhpc's other
parts.

- `protobuf/`, `messages/`: what is sent, as typed classes
- `rpc/`: one connection to one server, with its authentication
- `configuration`, `resource_managers`: the XML files, and the ResourceManagers' addresses
- `tokens`, `writable`: our identity towards a service, and the files that carry it
- `failover`, `client`, `master`, `node_manager`: the services, across restarts and fail-overs
- `spnego`: Kerberos for what only HTTP offers
- `ids`, `resources`: names and sizes as YARN writes them
"""
