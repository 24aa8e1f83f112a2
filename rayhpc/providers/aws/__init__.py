"""Amazon EC2 as a place that machines come from."""
