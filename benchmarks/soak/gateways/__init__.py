"""A gateway in trouble: back ends that die, clients that do not read, and a verdict."""
