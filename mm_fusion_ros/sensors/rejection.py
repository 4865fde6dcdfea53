"""The verdict on a message that cannot be used."""

from __future__ import annotations


class Rejected(ValueError):
    """A message or sample that is left out; everything else goes on.

    The reasons are few, so that drops can be counted by them:

    * `encoding`, `size`, `truncated`, `field`: the bytes do not hold what the message says;
    * `nan`, `covariance`, `quaternion`, `position`, `status`: numbers that mean nothing;
    * `calibration`, `frame`, `transform`: how the sensor is mounted or projects is not known;
    * `stamp`, `rate`: when it was measured, or how often it comes;
    * `empty`, `control`, `length`: a command that is no readable text.

    Attributes:
        reason: one of the codes above.
        detail: what was wrong, what was expected and how to mend it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
