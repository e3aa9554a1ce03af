"""The tests: ``python -m twisted.trial tests``, or ``tox``."""

import os
import sys

if "twisted.trial" in sys.modules:
    # Nodes load games of tests, too, and need none of this.
    if os.environ.get("COVERED"):
        import coverage

        # Here, because each of trial's workers comes by before it imports any of
        # ours, and what it starts does not: a node that is measured is slow.
        coverage.Coverage(config_file=os.environ["COVERED"], auto_data=True).start()

    from hypothesis import HealthCheck, settings

    # On a machine with other work any example may take long.
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")
