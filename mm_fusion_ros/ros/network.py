"""How the processes that this package starts by itself reach each other over DDS."""

from __future__ import annotations

import os

from mm_fusion_ros.ros.places import config_file

# The names that old and new versions of Fast DDS know.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def ros_environment(domain: int) -> dict[str, str]:
    """A domain of its own on this host, and room for clouds and images in the middleware.

    Args:
        domain: ROS domain id.

    Returns:
        environment variables to add; a profile of the user's own is kept.
    """
    environment = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if not any(name in os.environ for name in PROFILE_VARIABLES):
        profile = str(config_file("fastdds_large_messages.xml"))
        environment |= dict.fromkeys(PROFILE_VARIABLES, profile)
    return environment
