"""
The packets inside a DTLS association, purely.

What a game server and a player exchange once the connection is encrypted: layouts,
acknowledged messages, resent inputs, link quality, for both ends.
"""
