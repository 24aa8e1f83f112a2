"""The messages of Hadoop RPC and YARN that we send and read, one module per protocol.

The names are Hadoop's own, so that they can be found in its sources and documentation.  Fields of
no use to us are left out; the codec keeps what it does not know.
"""
