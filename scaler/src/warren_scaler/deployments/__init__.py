"""Worker sets that are Deployments of a cluster: seen, decided on, and scaled without killing a busy worker."""
