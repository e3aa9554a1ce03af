"""
Game servers in a Kubernetes cluster: pods of our own.

Kubernetes' official client is needed for it: ``pip install vinom[kubernetes]``. Only
`vinom.fleet.kubernetes.api` imports it.
"""
