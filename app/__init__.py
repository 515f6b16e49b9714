"""The top floor: the `psyllm` command line. A help text loads nothing but typer; work is imported when it is run."""
