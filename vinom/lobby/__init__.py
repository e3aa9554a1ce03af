"""
What happens to players before and after a match.

``conversation`` is one player's requests and answers, and who is online;
``matchmaking`` has the queue, its rules and parties; ``matches`` follows each match
from its plan to its end; ``results`` keeps how rounds ended. It owns conversations,
entries, parties and matches. It may import the fleet and all below.
"""
