"""The SQL of the database engines, a folder for each dialect."""
