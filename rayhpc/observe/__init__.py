"""What a cluster did, for people: facts, views of them, and advice.

    recording   the raw facts of one cluster, and the file they are kept in
    facts       a recording as a snapshot
    snapshot    the typed snapshot: columns of runs, nodes over time, actors
    intervals   sums over many stretches of time
    views/      pure functions of a snapshot, one for each part of a report
    live/       the same for a cluster that runs: looks, views of them, what changes between two
    advice/     what would make the program faster, one module for each kind
    page        the views as one HTML file, with `static/` (built from `dashboard/`)
    prometheus  what operators' tools read

Used by `cli` and `launch`.  Never speaks to a cluster: `launch.last_look` does.
"""
