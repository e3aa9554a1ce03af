"""The supply of game servers: forked processes of this machine."""
