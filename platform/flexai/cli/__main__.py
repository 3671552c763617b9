"""`python -m flexai.cli` is `flexai`."""

from flexai.cli.main import main

main()
