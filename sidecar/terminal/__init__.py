"""What people see on a terminal: text as it may be shown, colours, a writer that waits for nobody, log lines.

Knows nothing of the product; standard library only.
"""
