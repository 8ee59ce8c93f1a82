"""What must be right before the first call to AWS and after it: one module for each check.

Each check looks and judges, mends nothing, and leaves nothing behind. None prints a key, a token or a signature.
"""
