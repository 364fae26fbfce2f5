"""The commands, one a module: parse, call one library function, print. `cli.py` gathers them."""
