"""A cluster that grows with its work: the pure planner, and the loop that acts on its plans."""
