"""`get_node_ip_address`, where libraries look for it."""

from rayhpc.api.session.services import get_node_ip_address
from rayhpc.util.helpers import get_node_instance_id

__all__ = ["get_node_instance_id", "get_node_ip_address"]
