"""Other machines over the system's own OpenSSH: logging in, running scripts, streams.

So ~/.ssh/config, jump hosts, agents, security keys and Kerberos work as on the user's terminal.
Nothing here knows what a cluster is.
"""
