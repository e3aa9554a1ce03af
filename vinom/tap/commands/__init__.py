"""What `vinom NAME` does, one module per name; imported only when asked for."""
