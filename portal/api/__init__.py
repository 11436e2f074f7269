"""`/api/v1`: the same data as the pages, and the same actions, as JSON for programs (docs/portal-api.md).

A program has a token of an account, and nothing else: no cookie counts here, so that no page of another site can ask anything in
somebody's name. What it may see and do is the account's, from the store at each request.
"""
