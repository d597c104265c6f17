"""Worker sets that are Deployments of a Kubernetes cluster: seen, decided on, and steered without killing a busy worker."""
