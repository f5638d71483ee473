"""The main job of `leasehold demo`: a scripted agent keeps a real git repository up to date, under one lease.

Called by `leasehold.cli.demo`. `story` is the agent and the order of things, `tools` are the guarded doors it works
through, `workplace` prepares the folder, `evidence` has another process verify what the run left behind.
"""
