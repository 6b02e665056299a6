"""The SQL of the image domain, a folder for each dialect."""
