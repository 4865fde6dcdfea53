"""Frames to network input: geometry, quality figures, refusals."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from mm_fusion_ros.config import CameraConfig
from mm_fusion_ros.samples import CameraFrame
from mm_fusion_ros.sensors.camera import NETWORK_SIZE, CameraIntake
from mm_fusion_ros.sensors.image_quality import blockiness, image_quality
from mm_fusion_ros.sensors.rejection import Rejected

INTAKE = CameraIntake(CameraConfig())


def intrinsics(width: int, height: int, focal: float) -> np.ndarray:
    return np.array([[focal, 0, width / 2 - 3], [0, focal * 1.05, height / 2 + 5], [0, 0, 1.0]])


def frame_of(image: np.ndarray, matrix: np.ndarray | None = None, **changes: object) -> CameraFrame:
    if matrix is None:
        matrix = intrinsics(image.shape[1], image.shape[0], image.shape[1])
    frame = CameraFrame(1, "camera", "front", image, matrix, np.eye(4))
    return dataclasses.replace(frame, **changes)


def blob(width: int, height: int, centre: np.ndarray, sigma: float) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    squares = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2
    value = 255 * np.exp(-squares / (2 * sigma**2))
    return np.repeat(value.astype(np.uint8)[:, :, None], 3, axis=2)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image[:, :, 0].astype(np.float64)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def pinhole(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    image_point = matrix @ point
    return image_point[:2] / image_point[2]


# A third right of the axis and a tenth above it, at the network's scale well inside the picture.
POINT = np.array([0.3, -0.08, 1.0])


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (384, 288),
        (640, 480),
        (641, 479),
        (1242, 375),
        (1920, 1080),
        (480, 640),
        (200, 150),
        (1600, 1200),
    ],
)
def test_a_point_lands_where_the_new_intrinsics_project_it(width: int, height: int) -> None:
    matrix = intrinsics(width, height, width)
    image = blob(width, height, pinhole(matrix, POINT), sigma=max(width / 100.0, 3.0))
    prepared, _ = INTAKE.accept(frame_of(image, matrix))
    found = centroid(prepared.image)
    assert np.abs(found - pinhole(prepared.intrinsics, POINT)).max() < 0.1


def test_the_pixel_centre_convention_is_worked_by_hand() -> None:
    # 768 x 576 to 384 x 288 is a half, so cx = 100 becomes (100 + 0.5) / 2 - 0.5 = 49.75.
    matrix = np.array([[300.0, 2.0, 100.0], [0.0, 400.0, 50.0], [0.0, 0.0, 1.0]])
    prepared, _ = INTAKE.accept(frame_of(np.zeros((576, 768, 3), np.uint8), matrix))
    expected = [[150.0, 1.0, 49.75], [0.0, 200.0, 24.75], [0.0, 0.0, 1.0]]
    assert np.allclose(prepared.intrinsics, expected)
    assert prepared.valid == (0, 0, 384, 288)


@pytest.mark.parametrize(("width", "height"), [(1242, 375), (300, 700), (640, 480)])
def test_the_picture_is_centred_and_black_outside(width: int, height: int) -> None:
    prepared, _ = INTAKE.accept(frame_of(np.full((height, width, 3), 255, np.uint8)))
    x0, y0, x1, y1 = prepared.valid
    assert prepared.image.shape == (NETWORK_SIZE[1], NETWORK_SIZE[0], 3)
    assert (prepared.image[y0:y1, x0:x1] == 255).all()
    assert int(prepared.image.astype(np.int64).sum()) == 255 * 3 * (x1 - x0) * (y1 - y0)
    # One edge fills the target, and the aspect is kept to a pixel.
    assert (x1 - x0 == 384) or (y1 - y0 == 288)
    assert abs((x1 - x0) / width - (y1 - y0) / height) * max(width, height) <= 2.5
    assert abs(x0 - (384 - x1)) <= 1 and abs(y0 - (288 - y1)) <= 1


MODELS = {
    "plumb_bob": np.array([-0.3, 0.1, 0.001, -0.002, -0.02]),
    "rational_polynomial": np.array([0.4, -0.1, 0.001, -0.001, 0.01, 0.7, -0.05, 0.01]),
    "equidistant": np.array([0.02, -0.01, 0.003, -0.001]),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("width", "height"), [(640, 480), (1242, 375)])
def test_distortion_is_taken_out(model: str, width: int, height: int) -> None:
    matrix = intrinsics(width, height, width * 0.6)
    coefficients = MODELS[model]
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    pixels, _ = project(POINT.reshape(1, 1, 3), np.zeros(3), np.zeros(3), matrix, coefficients)
    seen = pixels.reshape(2)
    # The distortion moves the point by pixels, so that ignoring it could not pass.
    assert np.abs(seen - pinhole(matrix, POINT)).max() > 2.0
    image = blob(width, height, seen, sigma=4.0)
    frame = frame_of(image, matrix, distortion_model=model, distortion=coefficients)
    prepared, _ = INTAKE.accept(frame)
    assert np.abs(centroid(prepared.image) - pinhole(prepared.intrinsics, POINT)).max() < 0.15


def test_coefficients_of_zero_change_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    plain, _ = INTAKE.accept(frame_of(image))
    zero, _ = INTAKE.accept(frame_of(image, distortion_model="plumb_bob", distortion=np.zeros(5)))
    assert np.array_equal(plain.image, zero.image)


def test_two_cameras_may_share_an_intake() -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    first = frame_of(image, distortion_model="plumb_bob", distortion=MODELS["plumb_bob"])
    second = frame_of(image, distortion_model="plumb_bob", distortion=-MODELS["plumb_bob"])
    alone = [CameraIntake(CameraConfig()).accept(frame)[0].image for frame in (first, second)]
    shared = [INTAKE.accept(frame)[0].image for frame in (first, second)]
    assert not np.array_equal(*alone)
    assert np.array_equal(alone[0], shared[0]) and np.array_equal(alone[1], shared[1])


@pytest.mark.parametrize("model", ["thin_prism", "fisheye62", "", "none"])
def test_an_unknown_distortion_model_is_refused_by_name(model: str) -> None:
    frame = frame_of(
        np.zeros((480, 640, 3), np.uint8), distortion_model=model, distortion=np.array([0.1, 0.0])
    )
    with pytest.raises(Rejected, match=f"'{model}'.*plumb_bob") as verdict:
        INTAKE.accept(frame)
    assert verdict.value.reason == "calibration"


@pytest.mark.parametrize(
    "coefficients", [np.array([0.1, 0.2]), np.full(6, 0.1), np.array([0.1, np.nan, 0, 0, 0])]
)
def test_distortion_coefficients_that_do_not_fit_are_refused(coefficients: np.ndarray) -> None:
    frame = frame_of(
        np.zeros((480, 640, 3), np.uint8), distortion_model="plumb_bob", distortion=coefficients
    )
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(frame)
    assert verdict.value.reason == "calibration"


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((3, 3)),
        np.full((3, 3), np.nan),
        np.diag([500.0, -500.0, 1.0]),
        np.diag([500.0, 500.0, 2.0]),
        np.eye(4),
    ],
)
def test_intrinsics_of_no_camera_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(Rejected, match="calibrate") as verdict:
        INTAKE.accept(frame_of(np.zeros((480, 640, 3), np.uint8), matrix))
    assert verdict.value.reason == "calibration"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((480, 640), np.uint8), "encoding"),
        (np.zeros((480, 640, 4), np.uint8), "encoding"),
        (np.zeros((480, 640, 3), np.float32), "encoding"),
        (np.zeros((31, 640, 3), np.uint8), "size"),
        (np.zeros((480, 31, 3), np.uint8), "size"),
        (np.broadcast_to(np.zeros(3, np.uint8), (5000, 5000, 3)), "size"),
    ],
)
def test_an_image_of_the_wrong_kind_or_size_is_refused(image: np.ndarray, reason: str) -> None:
    with pytest.raises(Rejected) as verdict:
        INTAKE.accept(frame_of(image, np.diag([500.0, 500.0, 1.0])))
    assert verdict.value.reason == reason


def test_a_mounting_that_is_not_rigid_is_refused() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    for matrix, reason in [
        (np.full((4, 4), np.nan), "nan"),
        (np.diag([2.0, 2.0, 2.0, 1.0]), "transform"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), "transform"),
    ]:
        with pytest.raises(Rejected) as verdict:
            INTAKE.accept(frame_of(image, base_from_camera=matrix))
        assert verdict.value.reason == reason


def test_a_padded_read_only_view_is_taken_and_left_alone() -> None:
    memory = np.random.default_rng(0).integers(0, 256, (480, 700, 3), dtype=np.uint8)
    view = memory[:, :640]
    view.flags.writeable = False
    before = memory.copy()
    prepared, _ = INTAKE.accept(frame_of(view))
    contiguous, _ = INTAKE.accept(frame_of(view.copy()))
    assert np.array_equal(prepared.image, contiguous.image)
    assert np.array_equal(memory, before)


def street(seed: int = 0) -> np.ndarray:
    """Edges and shades at the network's size: blocks of random grey."""
    blocks = np.random.default_rng(seed).integers(40, 200, (18, 24), dtype=np.uint8)
    grey = cv2.resize(blocks, NETWORK_SIZE, interpolation=cv2.INTER_NEAREST)
    return np.repeat(grey[:, :, None], 3, axis=2)


def test_brightness_and_contrast_of_a_half_white_image() -> None:
    image = np.zeros((288, 384, 3), np.uint8)
    image[:144] = 255
    quality = image_quality(image)
    # Half 0 and half 1: mean 0.5, standard deviation 0.5, which is as much as the mean.
    assert quality["brightness"] == pytest.approx(0.5)
    assert quality["contrast"] == pytest.approx(1.0)
    assert quality["dark_fraction"] == pytest.approx(0.5)
    assert quality["saturated_fraction"] == pytest.approx(0.5)


def test_a_dark_and_a_blinded_image_are_told_from_a_good_one() -> None:
    good = image_quality(street())
    dark = image_quality((street() * 0.05).astype(np.uint8))
    blinded = image_quality(np.minimum(street().astype(int) * 6, 255).astype(np.uint8))
    assert good["dark_fraction"] == 0.0 and good["saturated_fraction"] == 0.0
    assert dark["dark_fraction"] == pytest.approx(1.0)
    # 250 / 6 = 41.7, and hardly a block is darker.
    assert blinded["saturated_fraction"] > 0.95


def test_blur_lowers_sharpness_whatever_the_exposure() -> None:
    sharp = image_quality(street())["sharpness"]
    blurred = [cv2.GaussianBlur(street(), (0, 0), sigma) for sigma in (1.0, 2.0, 4.0)]
    falling = [sharp, *(image_quality(image)["sharpness"] for image in blurred)]
    assert all(after < 0.5 * before for before, after in itertools.pairwise(falling))
    half = image_quality(street() // 2)["sharpness"]
    assert half == pytest.approx(sharp, rel=0.05)


def test_a_uniform_image_has_no_sharpness_and_white_noise_has_all() -> None:
    assert image_quality(np.full((288, 384, 3), 90, np.uint8))["sharpness"] == 0.0
    noise = np.random.default_rng(0).normal(128, 20, (288, 384)).round().astype(np.uint8)
    assert image_quality(np.repeat(noise[:, :, None], 3, axis=2))["sharpness"] == pytest.approx(
        1.0, abs=0.05
    )


@pytest.mark.parametrize("sigma", [5.0, 15.0])
def test_noise_is_measured(sigma: float) -> None:
    rng = np.random.default_rng(0)
    noisy = cv2.GaussianBlur(street(), (0, 0), 4)[:, :, 0] + rng.normal(0, sigma, (288, 384))
    image = np.repeat(noisy.clip(0, 255).round().astype(np.uint8)[:, :, None], 3, axis=2)
    assert image_quality(image)["noise_sigma"] == pytest.approx(sigma / 255.0, rel=0.05)


def test_the_checksum_is_equal_for_equal_frames_only() -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    noisy = image.copy()
    noisy[::2] ^= 1
    checksums = [INTAKE.accept(frame_of(i))[1]["checksum"] for i in (image, image.copy(), noisy)]
    assert checksums[0] == checksums[1] != checksums[2]
    assert checksums[0] == int(checksums[0]) and 0 <= checksums[0] < 2**32


def test_figures_are_finite_for_any_image() -> None:
    for image in (np.zeros((288, 384, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)):
        assert np.isfinite(list(image_quality(image).values())).all()


def test_black_borders_of_rectification_do_not_make_a_picture_dark() -> None:
    # Strong pincushion: the corners of the rectified image show nothing.
    image = np.full((480, 640, 3), 128, np.uint8)
    frame = frame_of(image, distortion_model="plumb_bob", distortion=np.array([0.8, 0, 0, 0, 0.0]))
    prepared, quality = INTAKE.accept(frame)
    assert (prepared.image == 0).any()
    assert quality["dark_fraction"] == 0.0


def test_the_sharpest_picture_is_the_cameras_own_where_nothing_was_rectified() -> None:
    large = frame_of(street())
    large = dataclasses.replace(large, image=cv2.resize(large.image, (800, 600)))
    large = dataclasses.replace(large, intrinsics=intrinsics(800, 600, 700.0))
    prepared, _ = INTAKE.accept(large)
    image, matrix, valid = prepared.sharpest()
    assert image is large.image and valid == (0, 0, 800, 600)
    assert np.array_equal(matrix, large.intrinsics)

    bent = dataclasses.replace(
        large, distortion_model="plumb_bob", distortion=np.array([-0.2, 0.05, 0.0, 0.0])
    )
    tiny = frame_of(cv2.resize(large.image, (200, 150)))
    for frame in (bent, tiny):
        prepared, _ = INTAKE.accept(frame)
        image, matrix, valid = prepared.sharpest()
        assert image is prepared.image and valid == prepared.valid
        assert np.array_equal(matrix, prepared.intrinsics)


def test_covered_tiles_are_counted_as_flat() -> None:
    image = street()
    image[:, :96] = 90  # a quarter of the width
    covered = image_quality(image)["flat_fraction"] - image_quality(street())["flat_fraction"]
    # 6 of 24 columns of tiles, of which the last touches what is beside.
    assert 5 / 24 <= covered <= 6 / 24


def test_a_white_balance_gone_wrong_is_measured_channel_by_channel() -> None:
    image = np.clip(street() * np.array([1.2, 1.0, 0.8]), 0, 255).astype(np.uint8)
    quality = image_quality(image)
    assert quality["red"] == pytest.approx(np.log(1.2), abs=0.02)
    assert quality["blue"] == pytest.approx(np.log(0.8), abs=0.02)


@pytest.mark.parametrize("first", [0, 3])
def test_the_blocks_of_a_compressed_picture_are_found_wherever_they_begin(first: int) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (480, 640, 3))
    whole = np.clip(cv2.resize(street(), (640, 480)) + noise, 0, 255).astype(np.uint8)

    def at(quality: int) -> float:
        data = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return blockiness(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, first:])

    assert blockiness(whole) < 1.2
    assert at(95) < 1.25
    assert 2.0 < at(10) < at(5)


def test_a_uniform_picture_has_no_blocks() -> None:
    assert blockiness(np.full((288, 384, 3), 90, np.uint8)) == 1.0
    assert blockiness(np.zeros((64, 5, 3), np.uint8)) == 1.0
