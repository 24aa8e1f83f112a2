"""What a process knows about the objects and tasks it created: references, lineage, submission."""
