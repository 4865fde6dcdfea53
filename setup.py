"""The ament_python package: subpackages, launch, config, models and commands."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "mm_fusion_ros"


def files(folder: str) -> list[str]:
    """The files directly in a folder; paths relative to this one, as setuptools wants them."""
    return sorted(str(path) for path in Path(folder).glob("*.*") if path.is_file())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Fuses camera, lidar, GPS and commands, and says why each sensor is believed.",
    maintainer="mm_fusion_ros maintainers",
    maintainer_email="maintainer@mm-fusion-ros.invalid",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "models/**/*", "**/*.html", "**/*.json", "**/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", files("launch")),
        (f"share/{PACKAGE}/config", files("config")),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            f"mm-fusion = {PACKAGE}.cli:main",
            f"fusion_node = {PACKAGE}.ros.fusion_node:main",
            f"sim_node = {PACKAGE}.ros.sim_node:main",
        ],
    },
)
