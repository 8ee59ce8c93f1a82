"""What must be right before the first call to AWS and after it: one module for each check.

A check repairs nothing and leaves nothing behind. It never prints a key, a token or a signature.
"""
