"""What each peer may do, and how much: token buckets, overload, origins, pressure."""
