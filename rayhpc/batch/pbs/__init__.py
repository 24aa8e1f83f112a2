"""PBS (OpenPBS, PBS Professional, Torque): its programs, its vocabulary, and how ranks start."""
