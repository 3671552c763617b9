"""`python -m node_agent` is `flexai agent`."""

import typer

from node_agent.commands import agent

if __name__ == "__main__":
    typer.run(agent)
