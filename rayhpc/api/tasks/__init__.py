"""Remote functions: the decorator, options, signatures, submission."""
