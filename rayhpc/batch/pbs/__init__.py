"""PBS (OpenPBS, PBS Professional, Torque): its programs, its words, and how ranks start."""
