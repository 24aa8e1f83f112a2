"""`ray.autoscaler`: imported by libraries; an allocation has a fixed size."""
