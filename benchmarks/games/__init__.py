"""Games that only measurements play."""
