"""A real YARN on this machine, for tests: `python -m yarn.lab up`.  See README.md beside this."""
