"""Everything a packaging tool needs beyond pyproject.toml: the twistd plugin."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["vinom", "vinom.*"]),
        # Twisted merges plugin folders by path: no __init__.py, no package.
        "twisted.plugins",
    ],
    # One root for everything: an editable install then puts it on the path, and
    # twistd finds the plugin.
    package_dir={"": "."},
    package_data={
        "twisted.plugins": ["vinom_plugins.py"],
        "vinom": ["py.typed"],
        "vinom.store.redis": ["scripts/*.lua", "scripts/*/*.lua"],
        # Runs the JavaScript twins of games.
        "vinom.tools.check": ["*.mjs"],
        # The page where people play.
        "vinom.node.web": ["static/*", "static/boards/*"],
    },
)
