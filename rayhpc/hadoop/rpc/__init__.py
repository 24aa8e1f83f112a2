"""Hadoop RPC, version 9: one connection to one protocol of one server.

`connection` is the interface for others; `frames` carries its messages, `sasl` and `digest_md5`
authenticate us, `rc4` encrypts.
"""
