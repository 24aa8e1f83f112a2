"""What a worker does: run tasks, host one actor, reply, keep a journal, end in good order."""
