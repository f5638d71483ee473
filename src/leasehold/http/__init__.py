"""What people reach over HTTP: one application, its guards against other origins, sessions, forms and event streams."""
