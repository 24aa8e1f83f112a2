"""scikit-learn through joblib's `ray` backend, unmodified."""

from __future__ import annotations

import pytest

from tests.guests.conftest import Guest

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra 'guests')")


def test_a_grid_search_and_a_forest_find_the_same_as_alone(guest: Guest) -> None:
    output = guest(
        """
        import os
        import joblib
        import numpy as np
        from ray.util.joblib import register_ray
        from sklearn.datasets import make_classification
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, cross_val_score

        register_ray()
        X, y = make_classification(n_samples=3000, n_features=50, random_state=0)  # more than 1 MiB
        search = lambda: GridSearchCV(LogisticRegression(max_iter=200), {"C": [0.01, 0.1, 1]}, cv=3)
        forest = lambda: RandomForestClassifier(n_estimators=20, max_depth=4, random_state=0)

        alone, alone_forest = search().fit(X, y), forest().fit(X, y)
        with joblib.parallel_backend("ray", n_jobs=-1):
            assert joblib.effective_n_jobs(-1) == 2
            pids = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(4))
            assert os.getpid() not in pids
            found = search().fit(X, y)
            grown = forest()
            grown.n_jobs = -1
            grown.fit(X, y)
            scores = cross_val_score(LogisticRegression(max_iter=200), X, y, cv=3)
        assert found.best_params_ == alone.best_params_
        score = "mean_test_score"
        assert np.allclose(found.cv_results_[score], alone.cv_results_[score])
        assert np.allclose(grown.predict_proba(X), alone_forest.predict_proba(X))
        print("same", len(scores))
        """
    )
    assert "same 3" in output.splitlines()
