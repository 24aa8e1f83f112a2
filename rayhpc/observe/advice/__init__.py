"""What would make a program faster: one module for each fault, each a pure function of a snapshot.

`choosing` asks all of them and takes the three that would save most.  A module's `look` describes
what it found, with the figure it is based on, or returns nothing.
"""
