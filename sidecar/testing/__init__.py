"""For the tests of products: a local AWS Marketplace and a sidecar beside it, as pytest fixtures (`plugin`).

Both are real processes on free ports. Importing this package loads neither pytest nor a library of the sidecar.
"""
