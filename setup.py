"""Everything a packaging tool needs beyond pyproject.toml: the twistd plugin."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["vinom", "vinom.*"]),
        # Twisted merges plugin folders by path: no __init__.py, no package.
        "twisted.plugins",
    ],
    package_data={"twisted.plugins": ["vinom_plugins.py"]},
)
