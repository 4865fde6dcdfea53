import numpy as np
import pytest

from mm_fusion_ros.localization.alignment import rigid_heading


def turned(path, angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return path @ np.array([[cosine, sine], [-sine, cosine]])


PATH = np.column_stack([np.linspace(0.0, 10.0, 30), np.sin(np.linspace(0.0, 3.0, 30))])


@pytest.mark.parametrize("angle", [-3.0, -1.0, 0.0, 0.5, 3.1])
def test_the_heading_of_a_turned_and_shifted_path_is_found(angle):
    assert rigid_heading(PATH, turned(PATH, angle) + np.array([100.0, -50.0])) == pytest.approx(
        angle
    )


def test_a_wild_place_hardly_counts():
    places = turned(PATH, 0.5) + np.random.default_rng(0).normal(0.0, 0.1, PATH.shape)
    places[25] += [0.0, 200.0]
    assert rigid_heading(PATH, places) == pytest.approx(0.5, abs=0.05)


def test_a_path_without_extent_has_no_heading():
    assert rigid_heading(np.zeros((5, 2)), np.random.default_rng(0).normal(size=(5, 2))) is None
