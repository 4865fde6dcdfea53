import numpy as np
import pytest
from simulated_drive import NS

from mm_fusion_ros.geometry import inverse, planar, yaw_of
from mm_fusion_ros.localization import registration
from mm_fusion_ros.localization.odometry import LidarOdometry
from mm_fusion_ros.localization.registration import undistorted

START = 1_700_000_000 * NS


def yard(pose, rays=720, rings=12, seed=0):
    """A scan (N, 4) of a walled yard of 30 x 20 m with pillars, seen from a pose; base_link."""
    rng = np.random.default_rng(seed)
    azimuth = np.repeat(np.linspace(-np.pi, np.pi, rays, endpoint=False), rings)
    slope = np.tile(np.tan(np.linspace(-0.25, 0.2, rings)), rays)
    heading = azimuth + yaw_of(pose)
    direction = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    origin = pose[:2, 3]
    walls = np.array([[15.0, 10.0], [-15.0, -10.0]])
    with np.errstate(divide="ignore"):
        distance = np.min(np.max((walls[:, None] - origin) / direction, axis=0), axis=1)
    for centre in ([5.0, 4.0], [-6.0, -3.0], [8.0, -6.0], [-9.0, 6.0], [1.0, -7.0]):
        apart = np.array(centre) - origin
        along = direction @ apart
        inside = 0.5**2 - (apart @ apart - along**2)
        hit = along - np.sqrt(np.maximum(inside, 0.0))
        distance = np.where((inside > 0.0) & (hit > 0.0), np.minimum(distance, hit), distance)
    height = 1.2 + distance * slope
    # The ground stops what would go below it.
    ground = height < 0.0
    distance = np.where(ground, -1.2 / np.where(ground, slope, -1.0), distance)
    height = np.maximum(height, 0.0)
    distance = distance + rng.normal(0.0, 0.01, distance.shape)
    points = np.stack(
        [distance * np.cos(azimuth), distance * np.sin(azimuth), height, np.ones_like(height)], 1
    )
    return points.astype(np.float32)


def path(count):
    """Poses of a gentle curve at 1 m/s and 0.2 rad/s, every tenth of a second."""
    poses = [planar(-5.0, -1.0, 0.0)]
    for _ in range(count - 1):
        poses.append(poses[-1] @ planar(0.1, 0.0, 0.02))
    return poses


def odometry_of(poses, **settings):
    made = LidarOdometry(threaded=False, max_range_m=40.0, **settings)
    for index, pose in enumerate(poses):
        made.push(yard(pose, seed=index), START + index * NS // 10)
    return made.poll()


@pytest.fixture(scope="module")
def followed():
    pytest.importorskip("kiss_icp", reason="kiss-icp is absent; `make setup` installs it")
    poses = path(25)
    return poses, odometry_of(poses)


def test_a_curve_is_followed_within_what_the_covariance_says(followed):
    poses, samples = followed
    assert len(samples) == len(poses)
    assert np.array_equal(samples[0].odom_from_base, np.eye(4))
    for pose, sample in zip(poses, samples, strict=True):
        truth = inverse(poses[0]) @ pose
        error = inverse(truth) @ sample.odom_from_base
        sigma = np.sqrt(np.diag(sample.pose_covariance))
        assert (np.abs(error[:2, 3]) <= 3.0 * sigma[:2] + 1e-9).all()
        assert abs(yaw_of(error)) <= 3.0 * sigma[5] + 1e-9
    # Rings on bare ground travel along with the robot and hold the registration back: 14 cm of
    # 2.4 m were measured, and the covariance has to know.
    assert np.linalg.norm(error[:2, 3]) < 0.2
    assert abs(yaw_of(error)) < 0.01


def test_the_twist_is_that_of_the_drive(followed):
    _, samples = followed
    late = np.array([sample.twist for sample in samples[5:]])
    assert late[:, 0].mean() == pytest.approx(1.0, abs=0.05)
    assert late[:, 5].mean() == pytest.approx(0.2, abs=0.03)
    assert np.abs(late[:, 1]).mean() < 0.15


def test_the_covariance_grows_and_is_positive(followed):
    _, samples = followed
    traces = [np.trace(sample.pose_covariance) for sample in samples]
    assert traces == sorted(traces)
    assert np.linalg.eigvalsh(samples[-1].pose_covariance).min() > 0.0


def test_inline_it_is_deterministic(followed):
    poses, samples = followed
    again = odometry_of(poses[:6])
    for first, second in zip(samples[:6], again, strict=True):
        assert np.array_equal(first.odom_from_base, second.odom_from_base)


def test_old_and_empty_scans_are_refused_and_counted(followed):
    poses, _ = followed
    made = LidarOdometry(threaded=False, max_range_m=40.0)
    made.push(yard(poses[0]), START)
    made.push(yard(poses[1]), START)
    made.push(np.zeros((0, 4), np.float32), START + NS)
    made.push(np.full((100, 4), np.nan, np.float32), START + 2 * NS)
    assert len(made.poll()) == 1
    assert made.refused == 3


def test_in_its_thread_the_newest_scan_wins_and_pushing_never_waits(followed):
    poses, _ = followed
    made = LidarOdometry(max_range_m=40.0)
    try:
        for index, pose in enumerate(poses[:10]):
            made.push(yard(pose), START + index * NS // 10)
        assert made.drain(timeout_s=60.0)
        samples = made.poll()
        assert 1 <= len(samples) <= 10
        assert len(samples) + made.skipped == 10
        assert samples[-1].stamp_ns == START + 9 * NS // 10
        assert made.poll() == []
    finally:
        made.close()


def test_a_failing_scan_is_told_and_the_next_goes_on(followed, monkeypatch):
    poses, _ = followed
    made = LidarOdometry(max_range_m=40.0)
    try:
        good = made._registration.register

        def failing(*arguments):
            raise ValueError("broken scan")

        monkeypatch.setattr(made._registration, "register", failing)
        made.push(yard(poses[0]), START)
        assert made.drain(timeout_s=60.0)
        with pytest.raises(RuntimeError, match="broken scan"):
            made.poll()
        monkeypatch.setattr(made._registration, "register", good)
        made.push(yard(poses[0]), START + 1)
        assert made.drain(timeout_s=60.0)
        assert len(made.poll()) == 1
    finally:
        made.close()


def test_reset_starts_anew(followed):
    poses, _ = followed
    made = LidarOdometry(threaded=False, max_range_m=40.0)
    made.push(yard(poses[0]), START + NS)
    made.reset()
    made.push(yard(poses[5]), START)  # earlier than before the reset: a bag that loops
    (sample,) = made.poll()
    assert np.array_equal(sample.odom_from_base, np.eye(4))


def test_without_kiss_icp_the_error_says_how_to_mend_it(monkeypatch):
    import builtins

    real = builtins.__import__

    def refusing(name, *arguments, **settings):
        if name.startswith("kiss_icp"):
            raise ImportError(name)
        return real(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(RuntimeError, match="pip install kiss-icp"):
        registration.load_kiss_icp()


def test_a_sweep_is_brought_to_its_stamp():
    # At 2 m/s a point measured 0.05 s before the stamp, 10 m ahead, is 9.9 m ahead at the stamp.
    points = np.array([[10.0, 0.0, 0.0]])
    offsets = np.array([-50_000_000])
    twist = np.array([2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert undistorted(points, offsets, twist)[0] == pytest.approx([9.9, 0.0, 0.0])
