"""The job kinds of the image domain."""
