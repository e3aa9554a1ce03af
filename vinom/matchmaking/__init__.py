"""From queue entries to the players of one match."""
