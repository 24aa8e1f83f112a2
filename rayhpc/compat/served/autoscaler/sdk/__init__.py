"""`ray.autoscaler.sdk`: imported by libraries; its functions say what to do instead."""

from rayhpc.compat.not_served import refuse

request_resources = refuse("ray.autoscaler.sdk.request_resources")

__all__ = ["request_resources"]
