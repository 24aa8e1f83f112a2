"""What a worker does: run tasks, host one actor, reply, keep a journal, exit gracefully."""
