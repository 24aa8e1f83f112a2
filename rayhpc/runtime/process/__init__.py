"""One process and its sockets: the loop, the leader, waiting, drivers, queries to others."""
