"""Actors: classes, handles, methods, names, their end."""
