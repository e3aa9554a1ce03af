"""
Results of rounds: kept once, listed, and sent to the operator's own server.

Matches and rooms report the ends of rounds to `vinom.lobby.results.service.Results`. A
store keeps them, in memory or in files, and `vinom.lobby.results.sending.Sending` posts
each of them, at least once, to the receiver of the settings.
"""
