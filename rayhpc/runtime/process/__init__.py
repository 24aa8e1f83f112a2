"""One process and its sockets: the loop, the leader, waiting, drivers, questions to others."""
