"""Players over UDP who are connected to the node."""
