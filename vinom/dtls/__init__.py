"""DTLS 1.2 without sockets: datagrams and time in, datagrams and events out."""
