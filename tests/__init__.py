"""The tests: ``python -m twisted.trial tests``, or ``tox``."""

import sys

if "twisted.trial" in sys.modules:
    # Nodes load games of tests, too, and need none of this.
    from hypothesis import HealthCheck, settings

    # On a machine with other work any example may take long.
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")
