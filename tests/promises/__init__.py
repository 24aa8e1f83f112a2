"""What rayhpc promises to HPC centres, one test by the name of each pain that it ends.

Here and nowhere else; `tests/slurm` has how SLURM's jobs, ends and troubles are dealt with.  A
test's name begins with its pain's, more tests of the same pain say which side of it they are.
`test_truth` (what a node is): test_whole_node_detection, test_gpus, test_shm, test_limits.
`test_neighbours` (sharing a node): test_ports, test_tmp_collisions, test_wrong_cluster,
test_stop_kills_others.  `test_start`: test_no_sleeps, test_unix_socket_length, test_interfaces,
test_nfs.  `test_end`: test_scancel_and_time_limit, test_exit_code, test_controller_load.
"""
