"""The SQL of the store, a folder for each dialect."""
