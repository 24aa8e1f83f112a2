"""The data plane: large objects between nodes, over sockets separate from the control plane.

Used by the raylet's object manager (`raylet.objects.channels`, `raylet.objects.serving`).  Moves
bytes from one arena into another in threads of its own, sealed with AES-GCM; the keys come from the
control plane.  Decides nothing: who asks for which bytes, and what follows a failure, is up to the
object manager.

    sealing    records under one key, counters as nonces
    listening  admits peers that have a ticket, and nobody else
    sending    the source's end of a channel
    receiving  the asking node's end of a channel
    plane      a node's data plane, put together
"""

from rayhpc.wire.data_plane.plane import CHANNELS_MAX, Channel, DataPlane, Events, Offer

__all__ = ["CHANNELS_MAX", "Channel", "DataPlane", "Events", "Offer"]
