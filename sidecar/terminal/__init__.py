"""Output on a terminal: printable text, colors, a writer that never blocks its callers, log lines.

Independent of the product; standard library only.
"""
