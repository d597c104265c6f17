"""The charts of `helm/` and the manifests of `k8s/`, without a cluster: rendered, and judged by rules."""
