"""What a process knows of the objects and tasks that it made: references, lineage, submission."""
