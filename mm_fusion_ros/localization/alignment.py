"""The heading of the odometry frame in `map`, found from the first metres of travel."""

from __future__ import annotations

import numpy as np

from mm_fusion_ros.samples import Float


def rigid_heading(path: Float, places: Float, rounds: int = 5) -> float | None:
    """The rotation that lays a path over measured places (Procrustes, robust to wild fixes).

    Args:
        path: (N, 2) antenna places told by odometry, path frame [m].
        places: (N, 2) the same places told by GPS, map frame [m].
        rounds: of reweighting; a place three median residuals off counts hardly any more.

    Returns:
        Heading of the path frame in the map frame [rad]; None where the path has no extent.
    """
    weight = np.ones(len(path))
    heading: float | None = None
    for _ in range(rounds):
        weight = weight / weight.sum()
        flat = path - weight @ path
        seen = places - weight @ places
        along = float(weight @ np.einsum("ni,ni->n", flat, seen))
        across = float(weight @ (flat[:, 0] * seen[:, 1] - flat[:, 1] * seen[:, 0]))
        if np.hypot(along, across) < 1e-9:
            return None
        heading = float(np.arctan2(across, along))
        cosine, sine = np.cos(heading), np.sin(heading)
        residual = np.linalg.norm(seen - flat @ np.array([[cosine, sine], [-sine, cosine]]), axis=1)
        scale = 3.0 * float(np.median(residual)) + 1e-6
        weight = 1.0 / (1.0 + (residual / scale) ** 2) ** 2
    return heading
