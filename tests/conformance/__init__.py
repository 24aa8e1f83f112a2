"""rayhpc beside the real Ray: the same programs on both, with the same observations.

`programs/*.py` know only `ray` and print what they see, one line per observation, case by case;
`expected/*.txt` is what the real Ray made of them.  `test_conformance` runs them on rayhpc, served
as `ray`.  To make the expectations again, in an interpreter that has the real Ray (any 2.x from
2.43 on, with joblib and scikit-learn):

    python -m venv /somewhere && /somewhere/bin/pip install 'ray[default]' joblib scikit-learn
    python -m tests.conformance.record --ray /somewhere/bin/python [program …]

Where rayhpc means to differ (an earlier error, a clearer message) `differences.py` says what it
prints instead, and why; nothing else may differ.
"""
