"""Each name of the API across two nodes: one test at least that fails if it did not work there.

The driver is on the node called near; what is tested lies on the one called far, and the tests
compare node ids.  `test_every_name` holds the list of names and fails for one without a test.
"""
