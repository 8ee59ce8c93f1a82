"""What the cluster shows of the pod, and what the sidecar reports to it."""
