"""
HTTP/1.1 as a proxy reads and writes it: heads, headers, messages, WebSocket frames.

Pure: what a proxy could read in another way than the next program is refused (`head`).
"""
