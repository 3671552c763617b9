"""The `flexai` command: reads arguments, calls the client, shows what it answered. No rules here.

JSON goes to stdout and prose to stderr; nothing asks a question without a terminal; `exits` lists the
exit codes. `up`, `demo` and `agent` are found by entry point and loaded when they are called.
"""
