"""Fuses camera, lidar, GPS and commands, and says why each sensor is believed or not."""

__version__ = "0.1.0"
