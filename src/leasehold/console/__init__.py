"""The web console: what people see and decide with. Handed to `leasehold.http.app.create_app` by `leasehold serve`.

Each page is a file: values made from what a `PersonDesk` answers, which are pure and tested without a browser, and the
handlers that draw them through one template. Every text, whoever wrote it, reaches a page through `drawing`, which
makes it plain and escapes it. No third-party script, no build step; everything works with scripts off (decision 0011).
"""
