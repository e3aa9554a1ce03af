"""
A game server as a program of its own: ``python -m vinom.gameserver``.

For a game with a ``command`` in the settings; the node tells it in variables of its
environment what it needs (docs/protocol/game-servers.rst).
"""

from __future__ import annotations

import json
import os
import sys

from vinom.gameserver.main import main

if __name__ == "__main__":
    try:
        server_id = os.environ["VINOM_SERVER_ID"]
        settings = json.loads(os.environ["VINOM_SETTINGS"])
    except (KeyError, ValueError) as error:
        sys.exit(
            f"{error}: this program is started by a node, as the command of a game in "
            "its settings"
        )
    main(server_id, settings)
