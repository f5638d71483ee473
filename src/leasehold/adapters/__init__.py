"""Where calls come from other people's programs: translate, call the guard, translate back. Nothing is decided here.

`asgi` and `service` stand before HTTP services, `fastapi` in them. Importing this package imports no framework.
"""
