"""One vendor or device each: HTTP, SQLite, signatures, the clock, the pod. None knows another."""
