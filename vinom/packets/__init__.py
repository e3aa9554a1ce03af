"""The packets inside a DTLS association, for both ends, without I/O."""
