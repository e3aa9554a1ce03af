"""The admin port of a node or a gateway: a site that few connections share."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.net.lines.counted import CountedFactory
from vinom.net.web.answers import RequestDeadlines, make_site
from vinom.net.web.named_hosts import NamedHosts

_log = Logger()

#: Connections at once.
MOST_CONNECTIONS = 64


def admin_port(
    pages: NamedHosts,
    reactor: Any,
    *,
    most: int = MOST_CONNECTIONS,
    deadlines: RequestDeadlines | None = None,
) -> IProtocolFactory:
    """
    Make what serves an admin port.

    :param most: connections at once; a quarter of them from one address.
    :param deadlines: of each request.
    """
    return CountedFactory(
        make_site(pages, reactor, deadlines),
        NetworkCounts(most // 4, most // 2, most),
        BoundedLog(_log, reactor),
    )
