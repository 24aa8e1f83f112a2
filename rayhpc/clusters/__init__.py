"""The cluster launcher: from Ray's cluster YAML to running nodes, and back.

`read` and `schema` know the file, `plan` decides what to do, `bring_up` and `take_down` do it on
hosts reached by `remote`.  Called by the commands in `cli`; knows no task and no batch system.
"""
