"""The operators' console: Django's admin, dressed. It shows rows and calls services; it holds no rules."""
