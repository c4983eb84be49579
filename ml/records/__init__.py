"""How the tables of `ops` and `ml` are made, read and written: every row of them passes here."""
