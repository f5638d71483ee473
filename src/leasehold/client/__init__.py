"""The remote faces: the protocols Runs, Door and Desk of an authority on another machine, over HTTP (DESIGN §9).

Made by `leasehold.connect` and `leasehold.aio.connect`. Needs the extra `client`.
"""
