"""Placement: placement groups, scheduling strategies, resources."""
