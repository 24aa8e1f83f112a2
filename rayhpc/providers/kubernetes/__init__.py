"""Kubernetes as a place that machines come from: a Job for each, no operator and no CRD."""
