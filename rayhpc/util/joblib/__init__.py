"""Joblib and scikit-learn on the whole cluster: `register_ray()`, then backend="ray".

Used by programs.  The backend itself is `ray_backend`.
"""

from __future__ import annotations

from rayhpc.util.joblib.ray_backend import RayBackend, register_ray, register_rayhpc

__all__ = ["RayBackend", "register_ray", "register_rayhpc"]
