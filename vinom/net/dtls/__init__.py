"""
DTLS 1.2 without sockets, and the two ports that have them.

Admission by cookie and ticket before any cryptography, handshakes and records by
OpenSSL through memory BIOs, associations by address. ``port`` is the server's socket,
``client_port`` the client's; ``bad_network`` loses and delays datagrams, for tests and
for trying out bad networks.
"""
