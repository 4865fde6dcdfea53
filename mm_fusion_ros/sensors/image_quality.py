"""Figures that tell a good picture from one that is dark, blinded, blurred, tinted or covered."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Grey values up to here are dark, from there on saturated: near the ends, where noise and
# compression still leave them.
DARK_LEVEL = 16
SATURATED_LEVEL = 250
# Variance of the 4-neighbour Laplacian of white noise: 4^2 + 4 x 1^2 times that of the noise.
LAPLACIAN_GAIN = 20.0
# Edge of a tile [pixels], and the mean Laplacian [grey values] below which it shows hardly a thing.
TILE = 16
FLAT_BELOW = 3.0
# Edge of the blocks that JPEG cuts pictures into, and every which row of a picture is looked at.
BLOCK = 8
BLOCK_ROWS = 4
# Added to differences of grey values, so that a uniform picture has no blocks.
LEAST_STEP = 0.25


def image_quality(image: NDArray[np.uint8]) -> dict[str, float]:
    """What a small picture tells of its camera; a few tenths of a millisecond.

    Args:
        image: (H, W, 3) uint8, RGB, small: the figures depend on scale.

    Returns:
        `brightness` mean grey 0..1; `contrast` standard deviation of grey over its mean;
        `dark_fraction` and `saturated_fraction` of the pixels; `sharpness` variance of the
        Laplacian over that of white noise with the image's variance, 0 for a uniform or blurred
        image to 1 for noise; `noise_sigma` standard deviation of noise 0..1, by Immerkaer, "Fast
        Noise Variance Estimation" (1996), high on fine texture as well; `flat_fraction` of the
        tiles that show next to no detail; `red` and `blue`, log of their mean over that of green.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    histogram /= grey.size
    levels = np.arange(256)
    mean = float(histogram @ levels)
    variance = float(histogram @ (levels - mean) ** 2)
    laplacian = cv2.Laplacian(grey, cv2.CV_16S)
    # Its mean is zero but for the borders, so that its mean square is its variance.
    energy = cv2.norm(laplacian, cv2.NORM_L2SQR) / laplacian.size
    # The difference of two Laplacians: nearly blind to edges, not to noise.
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    residual = cv2.filter2D(grey, cv2.CV_16S, kernel)
    mean_residual = cv2.norm(residual, cv2.NORM_L1) / residual.size
    height, width = grey.shape
    tiles = (max(width // TILE, 1), max(height // TILE, 1))
    detail = cv2.resize(cv2.convertScaleAbs(laplacian), tiles, interpolation=cv2.INTER_AREA)
    red, green, blue = (np.log(max(value, 1.0)) for value in cv2.mean(image)[:3])
    return {
        "brightness": mean / 255.0,
        "contrast": float(np.sqrt(variance)) / max(mean, 0.255),
        "dark_fraction": float(histogram[: DARK_LEVEL + 1].sum()),
        "saturated_fraction": float(histogram[SATURATED_LEVEL:].sum()),
        # One grey level squared is added so that a uniform image is blurred, not undefined.
        "sharpness": energy / (LAPLACIAN_GAIN * (variance + 1.0)),
        "noise_sigma": float(np.sqrt(np.pi / 2.0)) / 6.0 * mean_residual / 255.0,
        "flat_fraction": float((detail < FLAT_BELOW).mean()),
        "red": float(red - green),
        "blue": float(blue - green),
    }


def blockiness(image: NDArray[np.uint8]) -> float:
    """How much greater the steps are between the blocks of a compressed picture than elsewhere.

    Of the eight places where such blocks may begin, that of the greatest steps is held against the
    median (after Wang, Bovik and Evan, "Blind measurement of blocking artifacts in images", 2000).

    Args:
        image: (H, W, 3) uint8, as the camera gave it, not scaled.

    Returns:
        1 for an uncompressed picture, about 2 at a JPEG quality of 40, 5 at 10.
    """
    green = image[::BLOCK_ROWS, :, 1].astype(np.int16)
    steps = np.abs(np.diff(green, axis=1)).mean(axis=0)
    whole = len(steps) // BLOCK * BLOCK
    if not whole:
        return 1.0
    by_place = steps[:whole].reshape(-1, BLOCK).mean(axis=0) + LEAST_STEP
    return float(by_place.max() / np.median(by_place))
