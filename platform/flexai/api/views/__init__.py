"""Views parse, ask permission, call one service, answer. They know no rule."""
