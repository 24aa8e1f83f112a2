"""Grid Engine (Sun's, Univa's, Son of, Open): its programs, its words, and its parallel jobs."""
