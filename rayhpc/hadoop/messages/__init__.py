"""The messages of Hadoop RPC and YARN that we send and read, one module per talk.

The names are Hadoop's own, so that its sources and documents can be searched for them.  Fields
that are of no use to us are left out; the codec keeps what it does not know.
"""
