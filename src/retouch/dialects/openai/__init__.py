"""OpenAI's `/images/edits`, and the many servers that speak it: `requests` is the Dialect."""
