"""Actors: classes, handles, methods, names, termination."""
