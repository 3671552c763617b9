"""`flexai up`: PostgreSQL, Valkey, web, scheduler, worker and agent under one supervisor, from wheels alone."""
