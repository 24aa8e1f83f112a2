"""Google Compute Engine's API on one machine, for tests: a strict fake.  See README.md."""
