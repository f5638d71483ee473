"""The pytest plugin: collects the `[[tests]]` of policy files. Loaded by pytest through its entry point."""
