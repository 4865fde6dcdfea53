from dataclasses import replace

import numpy as np
import pytest
from simulated_drive import (
    EARTH,
    NS,
    START_NS,
    DriveSettings,
    drive_through,
    fix_at,
    odometry,
    simulate,
)

from mm_fusion_ros.config import LocalizationConfig
from mm_fusion_ros.geometry import inverse, planar, yaw_of
from mm_fusion_ros.localization.filter import PoseFilter
from mm_fusion_ros.outputs import Reason
from mm_fusion_ros.samples import GpsFix, GpsStatus, OdometrySample

CONFIG = LocalizationConfig()
# A quiet world, in which the answer can be worked out by hand.
QUIET = DriveSettings(
    seconds=40.0, slow_sigma_m=0.02, white_sigma_m=0.02, declared_sigma_m=0.05, gps_hz=2.0,
    odometry_hz=10.0, position_drift=1e-4, heading_drift=1e-5, turning_drift=1e-5,
)  # fmt: skip
USUAL = DriveSettings(seconds=120.0, gps_hz=2.0, odometry_hz=10.0)


def moved_by(fix, east, north):
    latitude, longitude, altitude = EARTH.geodetic(EARTH.enu(fix) + np.array([east, north, 0.0]))
    return replace(fix, latitude_deg=latitude, longitude_deg=longitude, altitude_m=altitude)


def seconds_of(sample):
    return (sample.stamp_ns - START_NS) / NS


def fed(samples):
    pose_filter = PoseFilter(CONFIG)
    verdicts = []
    for sample in samples:
        if isinstance(sample, OdometrySample):
            pose_filter.push_odometry(sample)
        else:
            verdicts.append(pose_filter.push_gps(sample))
    return pose_filter, verdicts


# The map ----------------------------------------------------------------------------------------


def test_before_anything_there_is_no_pose():
    pose_filter = PoseFilter(CONFIG)
    assert pose_filter.estimate(0) is None
    assert pose_filter.gps_reliability(0)[:2] == (0.0, Reason.MISSING)


def test_without_gps_the_map_is_the_odometry_frame_and_its_covariance_grows():
    samples = [each for each in simulate(QUIET, 0).samples if isinstance(each, OdometrySample)]
    pose_filter = PoseFilter(CONFIG)
    poses = []
    for sample in samples:
        pose_filter.push_odometry(sample)
        poses.append(pose_filter.estimate(sample.stamp_ns))
    first, last = poses[50], poses[-1]
    assert np.array_equal(last.map_from_odom, np.eye(4))
    assert last.map_from_base == pytest.approx(samples[-1].odom_from_base)
    assert np.trace(last.covariance[:2, :2]) > np.trace(first.covariance[:2, :2]) > 0.0
    assert pose_filter.shares() == (1.0, 0.0)


def test_the_map_is_east_north_up_about_the_first_accepted_fix():
    drive = simulate(QUIET, 0)
    no_fix = replace(fix_at(START_NS - 5, np.array([999.0, 0.0, 0.0])), status=GpsStatus.NO_FIX)
    pose_filter, verdicts = fed([no_fix, *drive.samples])
    assert not verdicts[0].accepted
    first = next(each for each in drive.samples if isinstance(each, GpsFix))
    assert pose_filter.plane.enu(first) == pytest.approx(np.zeros(3), abs=1e-6)


def test_the_heading_of_odometry_in_the_map_is_found_by_driving():
    run = drive_through(PoseFilter(CONFIG), simulate(QUIET, 1))
    assert not run.aligned[0] and run.aligned[-1]
    # The odometry frame lies at a heading of 2.0 rad (see DriveSettings), less nothing: its own
    # start heading and the true one are both 0.5 off.
    assert yaw_of(run.poses[-1].map_from_odom) == pytest.approx(2.0, abs=0.03)
    assert run.error[-1, :2] == pytest.approx([0.0, 0.0], abs=0.3)


def test_before_the_heading_is_known_the_place_is_honest_and_bounded():
    drive = simulate(USUAL, 3)
    run = drive_through(PoseFilter(CONFIG), drive)
    for pose in np.array(run.poses)[~run.aligned]:
        assert yaw_of(pose.map_from_odom) == 0.0
        assert pose.covariance[5, 5] == pytest.approx(np.pi**2 / 3.0)  # any heading
        assert np.abs(pose.map_from_base[:2, 3]).max() < 20.0


def test_the_antenna_is_not_the_base():
    # Antenna 2 m ahead of the base; robot driving east, odometry already east.
    pose_filter = PoseFilter(CONFIG)
    for index in range(200):
        stamp, x = START_NS + index * NS // 10, 0.1 * index
        pose_filter.push_odometry(odometry(stamp, planar(x, 0.0, 0.0), 1.0, 0.0))
        if index % 5 == 0:
            pose_filter.push_gps(
                fix_at(stamp, np.array([x + 2.0, 0.0, 1.0]), 0.05, (2.0, 0.0, 1.0))
            )
    pose = pose_filter.estimate(START_NS + 199 * NS // 10)
    # The first fix, 2 m ahead of the start and 1 m up, is the origin: base = 19.9 - 2.
    assert pose.map_from_base[:3, 3] == pytest.approx([17.9, 0.0, -1.0], abs=0.1)
    assert yaw_of(pose.map_from_base) == pytest.approx(0.0, abs=0.02)


# Order ------------------------------------------------------------------------------------------


def test_late_and_out_of_order_fixes_give_the_same_as_in_order():
    drive = simulate(replace(USUAL, seconds=40.0), 4)
    rng = np.random.default_rng(0)

    def arrival(sample):
        return sample.stamp_ns + (
            round(rng.uniform(0.0, 1.2) * NS) if isinstance(sample, GpsFix) else 0
        )

    in_order, _ = fed(drive.samples)
    late, _ = fed(sorted(drive.samples, key=arrival))
    end = drive.samples[-1].stamp_ns
    # Where odometry had not come when a fix was first tried, it is asked again in the replay;
    # what remains is the odometry after the very last fixes.
    assert late.estimate(end).map_from_base == pytest.approx(
        in_order.estimate(end).map_from_base, abs=1e-3
    )
    assert late.estimate(end).covariance == pytest.approx(
        in_order.estimate(end).covariance, rel=1e-2, abs=1e-4
    )


def test_a_fix_older_than_the_replay_is_stale_and_changes_nothing():
    drive = simulate(replace(USUAL, seconds=20.0), 5)
    pose_filter, _ = fed(drive.samples)
    end = drive.samples[-1].stamp_ns
    before = pose_filter.estimate(end)
    verdict = pose_filter.push_gps(fix_at(end - 10 * NS, np.zeros(3)))
    assert (verdict.accepted, verdict.reason) == (False, Reason.STALE)
    assert np.array_equal(pose_filter.estimate(end).map_from_base, before.map_from_base)


def test_a_fix_twice_is_a_fix_once():
    drive = simulate(replace(USUAL, seconds=20.0), 6)
    twice = [each for sample in drive.samples for each in (sample, sample)]
    once, _ = fed(drive.samples)
    double, _ = fed(twice)
    end = drive.samples[-1].stamp_ns
    assert np.array_equal(once.estimate(end).map_from_base, double.estimate(end).map_from_base)
    assert np.array_equal(once.estimate(end).covariance, double.estimate(end).covariance)


def test_two_runs_are_the_same_bit_for_bit_and_reset_forgets():
    drive = simulate(replace(USUAL, seconds=30.0), 7)
    pose_filter, _ = fed(drive.samples)
    end = drive.samples[-1].stamp_ns
    first = pose_filter.estimate(end)
    pose_filter.reset()
    assert pose_filter.estimate(end) is None
    for sample in drive.samples:
        if isinstance(sample, OdometrySample):
            pose_filter.push_odometry(sample)
        else:
            pose_filter.push_gps(sample)
    again = pose_filter.estimate(end)
    assert np.array_equal(first.map_from_base, again.map_from_base)
    assert np.array_equal(first.covariance, again.covariance)


# Honesty ----------------------------------------------------------------------------------------


def test_the_covariance_holds_the_truth_as_often_as_it_says():
    """NEES of place and of pose, over drives whose errors are drawn as real ones are."""
    rng = np.random.default_rng(2)
    inside, inside_pose, nis = [], [], []
    for seed in range(16):
        settings = DriveSettings(
            seconds=120.0,
            gps_hz=1.0,
            odometry_hz=5.0,
            heading=rng.uniform(-np.pi, np.pi),
            slow_sigma_m=rng.uniform(0.8, 2.0),
            correlation_s=rng.uniform(20.0, 60.0),
            white_sigma_m=rng.uniform(0.2, 0.6),
            position_drift=rng.uniform(0.01, 0.06),
            heading_drift=rng.uniform(0.002, 0.01),
            scale_error=rng.normal(0.0, 0.01),
        )
        run = drive_through(PoseFilter(CONFIG), simulate(settings, 1000 + seed))
        # chi-square, 95 %: 5.991 with 2 degrees of freedom, 7.815 with 3.
        inside.extend(run.nees()[run.aligned] < 5.991)
        inside_pose.extend(run.pose_nees()[run.aligned] < 7.815)
        nis.extend(each.nis for each in np.array(run.verdicts)[run.aligned])
    assert 0.90 <= np.mean(inside) <= 0.995
    assert 0.90 <= np.mean(inside_pose) <= 0.995
    # The mean of a chi-square of 2 degrees of freedom is 2.
    assert 1.4 <= np.nanmean(nis) <= 2.6


def test_every_covariance_is_symmetric_and_positive():
    run = drive_through(PoseFilter(CONFIG), simulate(USUAL, 8))
    for pose in run.poses:
        assert np.array_equal(pose.covariance, pose.covariance.T)
        assert np.linalg.eigvalsh(pose.covariance).min() > -1e-12


def test_the_shares_sum_to_one_and_an_outage_leaves_odometry():
    drive = simulate(replace(USUAL, seconds=100.0), 9)
    samples = [
        each for each in drive.samples if isinstance(each, OdometrySample) or seconds_of(each) < 40
    ]
    pose_filter = PoseFilter(CONFIG)
    shares, sigmas = {}, {}
    for sample in samples:
        if isinstance(sample, OdometrySample):
            pose_filter.push_odometry(sample)
            pose = pose_filter.estimate(sample.stamp_ns)
            shares[round(seconds_of(sample), 1)] = pose_filter.shares()
            sigmas[round(seconds_of(sample), 1)] = np.sqrt(np.trace(pose.covariance[:2, :2]))
        else:
            pose_filter.push_gps(sample)
    assert all(sum(each) == pytest.approx(1.0) for each in shares.values())
    assert all(0.0 <= gps <= 1.0 for _, gps in shares.values())
    assert shares[39.9][1] > 0.05
    assert shares[99.9][1] < 0.01  # sixty seconds later: e^-6 of it
    assert sigmas[99.9] > 1.2 * sigmas[39.9]
    trust, reason, _ = pose_filter.gps_reliability(samples[-1].stamp_ns)
    assert (trust, reason) == (0.0, Reason.STALE)


def test_a_silent_odometry_is_known_to_be_unknown():
    drive = simulate(replace(USUAL, seconds=60.0), 10)
    pose_filter, _ = fed(drive.samples)
    end = drive.samples[-1].stamp_ns
    now, later = pose_filter.estimate(end), pose_filter.estimate(end + 5 * NS)
    # 4.7 s beyond what its twist is believed, at up to 1 m/s: (4.7 m)^2 more, each axis.
    grown = later.covariance[0, 0] - now.covariance[0, 0]
    assert grown == pytest.approx(4.7**2, rel=0.1)
    assert np.array_equal(later.twist, np.zeros(6))


def test_gps_alone_still_gives_a_place():
    pose_filter = PoseFilter(CONFIG)
    for index in range(20):
        stamp = START_NS + index * NS
        verdict = pose_filter.push_gps(fix_at(stamp, np.array([0.5 * index, 0.0, 0.0])))
        assert verdict.accepted
    pose = pose_filter.estimate(START_NS + 19 * NS)
    assert pose.map_from_base[:2, 3] == pytest.approx([9.5, 0.0], abs=0.01)
    later = pose_filter.estimate(START_NS + 29 * NS)
    assert later.covariance[0, 0] > pose.covariance[0, 0] + 50.0  # ten seconds at up to 1 m/s
    assert pose_filter.shares()[1] > 0.0


# Faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"latitude_deg": float("nan")},
        {"altitude_m": float("inf")},
        {"covariance": np.full((3, 3), np.nan)},
        {"base_from_antenna": np.array([np.nan, 0.0, 0.0])},
    ],
)
def test_numbers_that_are_none_are_rejected_and_harm_nothing(broken):
    drive = simulate(replace(USUAL, seconds=20.0), 11)
    pose_filter, _ = fed(drive.samples)
    end = drive.samples[-1].stamp_ns
    before = pose_filter.estimate(end)
    verdict = pose_filter.push_gps(replace(fix_at(end + 1, np.zeros(3)), **broken))
    assert not verdict.accepted
    bad_odometry = odometry(end + 2, planar(np.nan, 0.0, 0.0), 1.0, 0.0)
    pose_filter.push_odometry(bad_odometry)
    after = pose_filter.estimate(end)
    assert np.array_equal(after.map_from_base, before.map_from_base)


@pytest.mark.parametrize("covariance", [None, np.zeros((3, 3))])
def test_an_undeclared_covariance_is_measured_instead(covariance):
    drive = simulate(USUAL, 12)
    samples = [
        replace(each, covariance=covariance) if isinstance(each, GpsFix) else each
        for each in drive.samples
    ]
    run = drive_through(PoseFilter(CONFIG), drive, samples)
    assert np.mean([each.accepted for each in run.verdicts]) > 0.98
    assert np.isfinite(run.error).all()


def test_single_wild_fixes_are_outliers():
    drive = simulate(USUAL, 13)
    rng = np.random.default_rng(1)
    samples, wild = [], []
    for each in drive.samples:
        if isinstance(each, GpsFix) and seconds_of(each) > 20.0 and rng.random() < 0.05:
            wild.append(each.stamp_ns)
            samples.append(moved_by(each, 60.0, -40.0))
        else:
            samples.append(each)
    clean = drive_through(PoseFilter(CONFIG), drive)
    faulty = drive_through(PoseFilter(CONFIG), drive, samples)
    stamps = [each.stamp_ns for each in samples if isinstance(each, GpsFix)]
    told = dict(zip(stamps, faulty.verdicts, strict=True))
    assert len(wild) > 3
    assert all(told[stamp].reason is Reason.OUTLIER for stamp in wild)
    assert not any(told[stamp].accepted for stamp in wild)
    apart = np.linalg.norm(faulty.error[:, :2] - clean.error[:, :2], axis=1)
    assert apart.max() < 1.0


def test_a_step_of_gps_is_told_and_does_not_take_the_pose_along():
    drive = simulate(USUAL, 14)
    samples = [
        moved_by(each, 30.0, 40.0) if isinstance(each, GpsFix) and seconds_of(each) >= 60 else each
        for each in drive.samples
    ]
    pose_filter = PoseFilter(CONFIG)
    run = drive_through(pose_filter, drive, samples)
    clean = drive_through(PoseFilter(CONFIG), drive)
    after = np.arange(len(run.verdicts)) >= 120  # 60 s of 2 Hz
    assert not any(each.accepted for each in np.array(run.verdicts)[after])
    reasons = [each.reason for each in np.array(run.verdicts)[after]]
    assert reasons[0] is Reason.OUTLIER
    assert Reason.JUMP in reasons[:6]
    assert reasons[-1] is Reason.JUMP
    # 50 m off, and the pose is led astray by less than a tenth of that in a minute.
    apart = np.linalg.norm(run.error[after, :2] - clean.error[after, :2], axis=1)
    assert apart.max() < 5.0
    trust, reason, quality = pose_filter.gps_reliability(samples[-1].stamp_ns)
    assert trust < 0.1
    assert reason is Reason.JUMP
    assert quality["off_m"] > 30.0


def test_gps_is_believed_again_when_it_comes_back():
    drive = simulate(USUAL, 15)
    samples = [
        moved_by(each, 30.0, 40.0)
        if isinstance(each, GpsFix) and 40 <= seconds_of(each) < 70
        else each
        for each in drive.samples
    ]
    pose_filter = PoseFilter(CONFIG)
    run = drive_through(pose_filter, drive, samples)
    assert not any(each.accepted for each in run.verdicts[82:140])
    assert all(each.accepted for each in run.verdicts[160:])  # within ten seconds
    trust, reason, _ = pose_filter.gps_reliability(samples[-1].stamp_ns)
    assert trust > 0.8
    assert reason is Reason.OK


def test_trust_halves_within_three_bad_fixes():
    drive = simulate(USUAL, 16)
    pose_filter = PoseFilter(CONFIG)
    trust = []
    for sample in drive.samples:
        if isinstance(sample, OdometrySample):
            pose_filter.push_odometry(sample)
            continue
        bad = seconds_of(sample) >= 60
        pose_filter.push_gps(moved_by(sample, 50.0, 0.0) if bad else sample)
        trust.append(pose_filter.gps_reliability(sample.stamp_ns)[0])
    assert trust[119] > 0.8
    assert trust[122] < 0.5 * trust[119]


def test_a_frozen_receiver_is_noticed_while_the_robot_moves():
    drive = simulate(replace(USUAL, seconds=60.0, speed_mps=1.5), 17)
    kept, samples = None, []
    for each in drive.samples:
        if isinstance(each, GpsFix) and seconds_of(each) >= 30:
            kept = kept or each
            samples.append(replace(kept, stamp_ns=each.stamp_ns))
        else:
            samples.append(each)
    run = drive_through(PoseFilter(CONFIG), drive, samples)
    moving = drive.truth[START_NS + 50 * NS][:2, 3] - drive.truth[START_NS + 30 * NS][:2, 3]
    assert np.linalg.norm(moving) > 3.0
    assert run.verdicts[-1].reason is Reason.FROZEN
    assert not run.verdicts[-1].accepted


def test_a_first_fix_on_the_other_side_of_the_earth_is_forgotten():
    drive = simulate(replace(USUAL, seconds=60.0), 18)
    lost = GpsFix(START_NS - 1, "gps", "gps", 0.0, 0.0, 0.0, np.eye(3))
    pose_filter, verdicts = fed([lost, *drive.samples])
    assert not verdicts[1].accepted
    assert verdicts[-1].accepted
    assert abs(pose_filter.plane.latitude_deg - EARTH.latitude_deg) < 0.1
    assert pose_filter.aligned


def test_a_restarted_odometry_does_not_move_the_robot():
    drive = simulate(replace(USUAL, seconds=80.0), 19)
    restart = planar(-40.0, 70.0, 1.0)
    samples = [
        replace(each, odom_from_base=restart @ each.odom_from_base)
        if isinstance(each, OdometrySample) and seconds_of(each) >= 50
        else each
        for each in drive.samples
    ]
    run = drive_through(PoseFilter(CONFIG), drive, samples)
    clean = drive_through(PoseFilter(CONFIG), drive)
    apart = np.linalg.norm(run.error[:, :2] - clean.error[:, :2], axis=1)
    assert apart.max() < 2.0
    # The jump is taken up by map_from_odom, where it belongs.
    change = inverse(clean.poses[-1].map_from_odom) @ run.poses[-1].map_from_odom
    assert yaw_of(change) == pytest.approx(-1.0, abs=0.15)
