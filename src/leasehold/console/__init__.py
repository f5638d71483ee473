"""The pages that people decide on. Handed to `leasehold.http.app.create_app` by `leasehold serve`."""
