"""The command `simmim`: a file for each verb."""
