"""Keys and certificates: files, tokens, the authority and their rotation."""
