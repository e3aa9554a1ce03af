"""
The packets inside a DTLS association, without I/O.

A game server and a player exchange them once the connection is encrypted: layouts,
acknowledged messages, resent inputs and link quality, for both ends.
"""
