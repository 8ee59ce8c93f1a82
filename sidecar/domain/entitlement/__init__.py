"""Whether the pod may run: states, registration evidence and the signed token."""
