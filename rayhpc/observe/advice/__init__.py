"""What would make a program faster: one module for each fault, each a pure function of a snapshot.

`choosing` asks all of them and takes the three that would save most.  A module's `look` says what
it found in words, with the figure that it rests on, or nothing.
"""
