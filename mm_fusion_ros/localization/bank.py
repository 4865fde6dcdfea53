"""A bank of Kalman filters, one for each belief about how wrong GPS and odometry are.

No receiver says truthfully how far its error reaches or how slowly it changes, and no wheel says
how much it slips. So K error-state filters run side by side, each with a sigma of its own for the
slowly wandering part of the GPS error and a scale of its own for odometry drift; the innovations
decide which to believe, and the answer is their mixture. The filters interact at every step
(interacting multiple models: Blom and Bar-Shalom, "The interacting multiple model algorithm for
systems with Markovian switching coefficients", IEEE TAC 33(8), 1988), so that a receiver may turn
bad and good again.

State of each filter: x, y of the base in `map` [m], heading of the path frame in `map` [rad], the
slow part of the GPS error, east and north [m], a first-order Gauss-Markov process, and the speed at
which the receiver is dragged off, east and north [m/s]. Carrying that error as a state is what
keeps the covariance honest: a hundred fixes of one minute share one error, and averaging them does
not make it go away. The speed matters only to hypotheses that are about being dragged off: without
it, fixes that leave at a steady pace would be explained by a robot that goes where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mm_fusion_ros.localization.path import J, PathDrift
from mm_fusion_ros.samples import Float

X, HEADING, BIAS, DRAG = slice(0, 2), 2, slice(3, 5), slice(5, 7)
SIZE = 7
_TWO_PI = 2.0 * np.pi


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """What each of the K filters believes.

    Attributes:
        gps_sigma_m: (K,) sigma of the slow GPS error, each axis [m].
        drift_scale: (K,) multiplies the standard deviations of odometry drift.
        correlation_s: (K,) time constant of the slow GPS error [s].
        dragged: (K,) bool, whether the receiver is led astray at a steady pace.
        drag_mps: sigma of that pace, each axis [m/s].
        drag_s: how long it usually stays the same [s].
        dwell_s: mean time before a hypothesis gives way to another [s].
    """

    gps_sigma_m: Float
    drift_scale: Float
    correlation_s: Float
    dragged: NDArray[np.bool_]
    drag_mps: float
    drag_s: float
    dwell_s: float


@dataclass(frozen=True, eq=False)
class Bank:
    """The K filters at one instant.

    Attributes:
        mean: (K, 7) states.
        covariance: (K, 7, 7).
        weight: (K,) probabilities, sum 1.
    """

    mean: Float
    covariance: Float
    weight: Float


@dataclass(frozen=True, eq=False)
class Innovation:
    """What a fix says beyond what was expected.

    Attributes:
        residual: (K, 2) measured minus expected antenna place [m].
        covariance: (K, 2, 2) of it.
        jacobian: (K, 2, 7) of the expected place with respect to the state.
        spread: (2, 2) covariance of the innovation of the mixture.
        nis: normalised innovation squared of the mixture; chi-square, 2 degrees of freedom.
    """

    residual: Float
    covariance: Float
    jacobian: Float
    spread: Float
    nis: float


def rotations(angles: Float) -> Float:
    """(K, 2, 2) rotations of the plane by (K,) angles [rad]."""
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def wrap(angles: Float) -> Float:
    """Angles in [-pi, pi) [rad]."""
    return (angles + np.pi) % _TWO_PI - np.pi


def symmetric(matrices: Float) -> Float:
    """The symmetric part of (..., n, n) matrices."""
    return (matrices + np.swapaxes(matrices, -1, -2)) / 2.0


def started(
    hypotheses: Hypotheses,
    prior: Float,
    antenna: Float,
    arm: Float,
    heading: float,
    heading_sigma: float,
    white_sigma_m: float,
) -> Bank:
    """A bank that knows one fix, with a guess of the heading.

    Args:
        hypotheses: the K beliefs.
        prior: (K,) their probabilities.
        antenna: (2,) the fix in `map` [m].
        arm: (2,) base to antenna in path axes [m].
        heading: guess of the path frame's heading in `map` [rad].
        heading_sigma: of that guess [rad].
        white_sigma_m: fast part of the GPS error [m].
    """
    count = len(prior)
    mean = np.zeros((count, SIZE))
    turned = rotations(np.array([heading]))[0] @ arm
    mean[:, X] = antenna - turned
    mean[:, HEADING] = heading
    covariance = np.zeros((count, SIZE, SIZE))
    slow = hypotheses.gps_sigma_m**2
    # base = fix - slow error - fast error - arm: what the slow error has too much, the base lacks.
    for axis in (0, 1):
        covariance[:, axis, axis] = slow + white_sigma_m**2
        covariance[:, axis, 3 + axis] = covariance[:, 3 + axis, axis] = -slow
        covariance[:, 3 + axis, 3 + axis] = slow
        covariance[:, 5 + axis, 5 + axis] = hypotheses.drag_mps**2
    swing = np.zeros(SIZE)
    swing[X] = -J @ turned
    swing[HEADING] = 1.0
    covariance += heading_sigma**2 * np.outer(swing, swing)
    return Bank(mean, covariance, prior / prior.sum())


def mixed(bank: Bank, prior: Float, seconds: float, dwell_s: float) -> Bank:
    """The bank after hypotheses had `seconds` to give way to one another.

    Args:
        bank: the filters.
        prior: (K,) where the probabilities settle when nothing is measured.
        seconds: time passed [s].
        dwell_s: mean time before a hypothesis gives way [s].
    """
    leave = 1.0 - np.exp(-max(seconds, 0.0) / dwell_s)
    transition = (1.0 - leave) * np.eye(len(prior)) + leave * prior[None, :]
    joint = bank.weight[:, None] * transition  # (from, to)
    weight = joint.sum(axis=0)
    share = joint / weight[None, :]
    # Angles are averaged as differences from the likeliest filter, so that no seam is crossed.
    reference = bank.mean[int(np.argmax(bank.weight))]
    difference = bank.mean - reference
    difference[:, HEADING] = wrap(difference[:, HEADING])
    centre = np.einsum("ij,in->jn", share, difference)
    apart = difference[:, None, :] - centre[None, :, :]
    covariance = np.einsum("ij,inm->jnm", share, bank.covariance) + np.einsum(
        "ij,ijn,ijm->jnm", share, apart, apart
    )
    mean = reference + centre
    mean[:, HEADING] = wrap(mean[:, HEADING])
    return Bank(mean, symmetric(covariance), weight / weight.sum())


def predicted(
    bank: Bank, drift: PathDrift, seconds: float, unknown_m: float, hypotheses: Hypotheses
) -> Bank:
    """The bank carried along the path.

    Args:
        bank: the filters.
        drift: motion and drift told by odometry.
        seconds: time passed [s].
        unknown_m: sigma of motion that odometry told nothing of [m].
        hypotheses: the K beliefs.
    """
    count = len(bank.weight)
    turn = rotations(bank.mean[:, HEADING])
    moved = turn @ drift.offset
    mean = bank.mean.copy()
    mean[:, X] += moved
    keep, keep_drag = _kept(hypotheses, seconds)
    jacobian = np.tile(np.eye(SIZE), (count, 1, 1))
    jacobian[:, X, HEADING] = moved @ J.T
    jacobian[:, [3, 4], [3, 4]] = keep[:, None]
    jacobian[:, [5, 6], [5, 6]] = keep_drag[:, None]
    jacobian[:, [3, 4], [5, 6]] = np.where(hypotheses.dragged, seconds, 0.0)[:, None]
    mean[:, 3:] = np.einsum("kij,kj->ki", jacobian[:, 3:, 3:], mean[:, 3:])
    to_map = np.zeros((count, 3, 3))
    to_map[:, :2, :2] = turn
    to_map[:, 2, 2] = 1.0
    noise = np.zeros((count, SIZE, SIZE))
    noise[:, :3, :3] = to_map @ drift.covariance @ np.swapaxes(to_map, 1, 2)
    noise[:, :3, :3] *= (hypotheses.drift_scale**2)[:, None, None]
    noise[:, [0, 1], [0, 1]] += unknown_m**2
    # A robot that was not watched may have turned as well: about a radian in two metres.
    noise[:, 2, 2] += min(0.5 * unknown_m, np.pi / np.sqrt(3.0)) ** 2
    wander = hypotheses.gps_sigma_m**2 * _fresh(hypotheses, seconds)
    noise[:, [3, 4], [3, 4]] += wander[:, None]
    noise[:, [5, 6], [5, 6]] += (hypotheses.drag_mps**2 * (1.0 - keep_drag**2))[:, None]
    covariance = jacobian @ bank.covariance @ np.swapaxes(jacobian, 1, 2) + noise
    return Bank(mean, symmetric(covariance), bank.weight)


def _kept(hypotheses: Hypotheses, seconds: float) -> tuple[Float, Float]:
    """(K,) what is left of the slow error and of the drag after some seconds, 0..1.

    Dragged off, the error is not drawn back to zero; not dragged, the drag is unknown at any time.
    """
    slow = np.exp(-abs(seconds) / hypotheses.correlation_s)
    drag = np.exp(-abs(seconds) / hypotheses.drag_s)
    return np.where(hypotheses.dragged, 1.0, slow), np.where(hypotheses.dragged, drag, 0.0)


def _fresh(hypotheses: Hypotheses, seconds: float) -> Float:
    """(K,) variance that the slow error gains in some seconds, in units of its own."""
    return np.asarray(1.0 - np.exp(-2.0 * abs(seconds) / hypotheses.correlation_s))


def innovation(bank: Bank, antenna: Float, arm: Float, noise: Float) -> Innovation:
    """The innovation of a fix in each filter and in the mixture.

    Args:
        bank: the filters at the fix's instant.
        antenna: (2,) the fix in `map` [m].
        arm: (2,) base to antenna in path axes at that instant [m].
        noise: (2, 2) covariance of the fast part of the GPS error [m^2].
    """
    count = len(bank.weight)
    turned = rotations(bank.mean[:, HEADING]) @ arm
    residual = antenna - (bank.mean[:, X] + turned + bank.mean[:, BIAS])
    jacobian = np.zeros((count, 2, SIZE))
    jacobian[:, [0, 1], [0, 1]] = 1.0
    jacobian[:, [0, 1], [3, 4]] = 1.0
    jacobian[:, :, HEADING] = turned @ J.T
    covariance = jacobian @ bank.covariance @ np.swapaxes(jacobian, 1, 2) + noise
    centre = bank.weight @ residual
    apart = residual - centre
    whole = np.einsum("k,kij->ij", bank.weight, covariance)
    whole = whole + np.einsum("k,ki,kj->ij", bank.weight, apart, apart)
    nis = float(centre @ np.linalg.solve(whole, centre))
    return Innovation(residual, covariance, jacobian, whole, nis)


def reweighted(bank: Bank, seen: Innovation, floor: float) -> Bank:
    """Probabilities after an innovation; the states stay.

    Args:
        bank: the filters.
        seen: the innovation.
        floor: density of a fix that fits nothing [1/m^2]: no single fix says more than that.
    """
    solved = np.linalg.solve(seen.covariance, seen.residual[:, :, None])[:, :, 0]
    exponent = -0.5 * np.einsum("ki,ki->k", seen.residual, solved)
    density = np.exp(exponent) / (_TWO_PI * np.sqrt(np.linalg.det(seen.covariance)))
    weight = bank.weight * (density + floor)
    return replace(bank, weight=weight / weight.sum())


def updated(bank: Bank, seen: Innovation, noise: Float) -> Bank:
    """The states after an accepted fix (Joseph form: stays symmetric and positive)."""
    transposed = np.swapaxes(seen.jacobian, 1, 2)
    gain = bank.covariance @ transposed @ np.linalg.inv(seen.covariance)
    mean = bank.mean + np.einsum("kni,ki->kn", gain, seen.residual)
    mean[:, HEADING] = wrap(mean[:, HEADING])
    rest = np.eye(SIZE) - gain @ seen.jacobian
    covariance = rest @ bank.covariance @ np.swapaxes(rest, 1, 2)
    covariance = covariance + gain @ noise @ np.swapaxes(gain, 1, 2)
    return replace(bank, mean=mean, covariance=symmetric(covariance))


def with_wider_bias(bank: Bank, covariance: Float) -> Bank:
    """The bank when the receiver's slow error has changed at once, by a (2, 2) covariance."""
    wider = bank.covariance.copy()
    wider[:, BIAS, BIAS] += covariance
    return replace(bank, covariance=wider)


def with_usual_bias(bank: Bank, hypotheses: Hypotheses) -> Bank:
    """The bank when the receiver came back: its slow error is new and as large as usual."""
    covariance = bank.covariance.copy()
    mean = bank.mean.copy()
    mean[:, 3:] = 0.0
    covariance[:, 3:, :] = 0.0
    covariance[:, :, 3:] = 0.0
    covariance[:, [3, 4], [3, 4]] = (hypotheses.gps_sigma_m**2)[:, None]
    covariance[:, [5, 6], [5, 6]] = hypotheses.drag_mps**2
    return replace(bank, mean=mean, covariance=covariance)


def moments(bank: Bank) -> tuple[Float, Float]:
    """Mean (7,) and covariance (7, 7) of the mixture; the spread between filters included."""
    reference = bank.mean[int(np.argmax(bank.weight))]
    difference = bank.mean - reference
    difference[:, HEADING] = wrap(difference[:, HEADING])
    centre = bank.weight @ difference
    apart = difference - centre
    covariance = np.einsum("k,kij->ij", bank.weight, bank.covariance)
    covariance = covariance + np.einsum("k,ki,kj->ij", bank.weight, apart, apart)
    mean = reference + centre
    mean[HEADING] = wrap(mean[HEADING])
    return mean, symmetric(covariance)
