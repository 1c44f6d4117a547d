"""`tbench train` and `tbench train compare`."""
