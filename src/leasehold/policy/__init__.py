"""What may be asked, by whom, and who has to agree: the document, its evaluation, explanation and tests. Pure."""
