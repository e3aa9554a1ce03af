"""
What every wing uses.

The values that all speak of (`model`), players' ``messages``, `tokens`, ``limits`` for
peers, tables of ``settings``, what Twisted's ``reactor`` lacks, logs, and the ``wall``
around a game process. It owns nothing. It may import `vinom.errors` only.
"""
