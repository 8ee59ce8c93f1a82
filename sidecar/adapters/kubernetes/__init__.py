"""This pod's own object in the cluster, through the kubernetes package."""
