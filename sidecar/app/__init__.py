"""The life of the process: composition, start, drain and the connection to the cluster."""
