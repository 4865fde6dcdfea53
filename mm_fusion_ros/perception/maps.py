"""The layout of the networks' output maps: which channels mean what.

Shared by the heads (torch), the losses and the decoder (numpy), so that none can drift.
All maps lie on the cells of `perception.grid`.
"""

from __future__ import annotations

from mm_fusion_ros.outputs import CLASSES, COLOURS

CLASS = slice(0, len(CLASSES))
"""Logits of "an object of this class has its centre here"."""
COLOUR = slice(CLASS.stop, CLASS.stop + len(COLOURS))
"""Logits over the colours, softmax."""
OFFSET = slice(COLOUR.stop, COLOUR.stop + 2)
"""From the cell's centre to the object's, x y [m]."""
HEIGHT = slice(OFFSET.stop, OFFSET.stop + 1)
"""z of the object's centre in base_link [m]."""
SIZE = slice(HEIGHT.stop, HEIGHT.stop + 3)
"""Natural log of length, width, height [m]."""
YAW = slice(SIZE.stop, SIZE.stop + 2)
"""Sine and cosine of twice the heading: a box turned by half a turn is the same box."""
LOG_VARIANCE = slice(YAW.stop, YAW.stop + 3)
"""Natural log of the variance of the centre [m^2]: along the ray, across it, and of z."""
CHANNELS = LOG_VARIANCE.stop
