"""Play for hours, with trouble, and check the node every minute."""
