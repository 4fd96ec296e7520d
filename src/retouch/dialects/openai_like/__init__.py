"""What servers that speak nearly OpenAI's shape have in common: bodies, documents, errors. Pure."""
