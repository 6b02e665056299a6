"""The image domain: collections of images, what pipelines find on them, and the job kinds that fill these tables."""
