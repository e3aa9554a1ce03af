"""
A game server as a separate program: ``python -m vinom.fleet.gameserver``.

For a game with a ``command`` in the settings; the node passes its settings in
environment variables (docs/protocol/game-servers.rst).
"""

from __future__ import annotations

import json
import os
import sys

from vinom.fleet.gameserver.main import main

if __name__ == "__main__":
    try:
        server_id = os.environ["VINOM_SERVER_ID"]
        settings = json.loads(os.environ["VINOM_SETTINGS"])
    except (KeyError, ValueError) as error:
        sys.exit(
            f"{error}: only a node can start this program, as the command of a game in "
            "its settings"
        )
    main(server_id, settings)
