"""
Bytes from and to the network.

``lines`` has players' TCP connections, WebSockets and TLS; ``dtls`` and ``packets`` are
encrypted UDP and what is in it; ``http`` is HTTP as a proxy reads it, ``web`` HTTP as a
server answers it; ``streams`` carries sessions of gateways; ``keys`` are certificates
and the keys of tokens; `nodes` is what nodes ask of each other; `frames` cuts
byte streams into messages. It owns
connections. It may import the base.
"""
