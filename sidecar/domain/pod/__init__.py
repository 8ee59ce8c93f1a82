"""What the cluster says about the pod, and what the sidecar reports to it."""
