"""``python -m smapnb``: the command `smapnb`, also where a launcher such as torchrun takes a module."""

from smapnb.cli import app

app(prog_name="smapnb")
