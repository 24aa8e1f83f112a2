"""A cluster as it is now: what `rayhpc top` and `rayhpc dashboard` show and refresh.

    tally     what has run so far by function and by actor, in bounded memory
    look      one look at the cluster: the snapshot that the views are functions of
    now       the views, each a pure function of a look
    changes   what differs between two views, and how to apply it

Never speaks to a cluster: `launch.live_look` does.
"""
