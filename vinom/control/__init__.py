"""The frames between a node and its game servers, and the link that carries them."""
