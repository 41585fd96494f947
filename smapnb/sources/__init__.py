"""One reader per product: file -> Dataset in the names and units of `smapnb.variables`, and nothing else."""
