"""Django's PostgreSQL backend with a pool whose check of a connection costs no round trip."""
