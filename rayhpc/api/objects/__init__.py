"""References: `get`, `put`, `wait`, `cancel`, `free`."""
