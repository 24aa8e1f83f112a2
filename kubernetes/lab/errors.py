"""The lab's own error."""


class LabError(Exception):
    """The lab cannot do it; the text says why."""
