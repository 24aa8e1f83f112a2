"""Grid Engine (Sun's, Univa's, Son of, Open): its programs, vocabulary and parallel jobs."""
