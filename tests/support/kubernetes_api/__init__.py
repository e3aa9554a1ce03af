"""
A Kubernetes API server for tests: real HTTP, real schemas, real programs as pods.

`objects` keeps objects and their history, `schemas` validates them, `access` refuses
(roles, quota), `server` speaks HTTP, and `kubelet` runs a child process for each pod.
Each behaviour names the upstream page that describes it. All pages are those of
https://kubernetes.io/docs/ as of Kubernetes 1.37; "API concepts" is
reference/using-api/api-concepts/.
"""
