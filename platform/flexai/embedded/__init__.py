"""`flexai up`: PostgreSQL, Valkey, web, worker and agent under one supervisor, from wheels alone."""
