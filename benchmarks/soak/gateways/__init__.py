"""A gateway under faults: back ends that die, clients that do not read, a verdict."""
