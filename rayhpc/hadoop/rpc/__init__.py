"""Hadoop RPC, version 9: one connection to one protocol of one server.

`connection` is what others use; `frames` carries its messages, `sasl` and `digest_md5` say who we
are, `rc4` hides what is said.
"""
