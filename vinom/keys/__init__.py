"""
Keys and certificates.

Their files, the authority that signs game servers' certificates, the keys that sign
connect tokens, and how all of them are rotated.
"""
