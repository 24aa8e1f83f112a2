"""Modin, unmodified: its data frames live in rayhpc's object store."""

from __future__ import annotations

import pytest

from tests.guests.conftest import Guest

pytest.importorskip("modin", reason="modin is not installed (extra 'guests')")


def test_modin_computes_what_pandas_does(guest: Guest) -> None:
    output = guest(
        """
        import numpy as np
        import pandas
        import modin.config
        modin.config.Engine.put("ray")
        import modin.pandas as pd
        import ray

        data = {"key": np.arange(2000) % 7, "value": np.arange(2000.0)}
        mine, theirs = pd.DataFrame(data), pandas.DataFrame(data)

        def same(one, other):
            one = one._to_pandas() if hasattr(one, "_to_pandas") else one
            if isinstance(other, pandas.DataFrame):
                pandas.testing.assert_frame_equal(one, other)
            elif isinstance(other, pandas.Series):
                pandas.testing.assert_series_equal(one, other)
            else:
                assert one == other, (one, other)

        same(mine.groupby("key").value.sum(), theirs.groupby("key").value.sum())
        same(mine.describe(), theirs.describe())
        same(mine.sort_values("key", kind="stable"), theirs.sort_values("key", kind="stable"))
        same(mine.merge(mine.groupby("key").mean().reset_index(), on="key"),
             theirs.merge(theirs.groupby("key").mean().reset_index(), on="key"))
        same(mine.apply(lambda row: row.value * 2, axis=1).sum(),
             theirs.apply(lambda row: row.value * 2, axis=1).sum())
        same(pd.concat([mine, mine]).value.max(), 1999.0)
        mine.to_csv("out.csv", index=False)
        same(pd.read_csv("out.csv"), theirs)

        part = mine._query_compiler._modin_frame._partitions[0, 0]
        assert "pandas_on_ray" in type(part).__module__
        assert ray.is_initialized() and ray.__rayhpc__
        print("same", ray.__version__)
        """
    )
    assert "same 2.58.0" in output.splitlines()
