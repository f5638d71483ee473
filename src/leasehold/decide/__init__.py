"""One Step per file: the facts it names and the pure rule over them. Built by authority, run by store."""
