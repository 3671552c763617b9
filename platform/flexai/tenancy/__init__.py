"""Organizations, teams, members, roles, quotas, tokens, audit."""
