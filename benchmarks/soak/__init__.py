"""Play for hours, with trouble, and look every minute whether all is well."""
