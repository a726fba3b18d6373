"""How fast jaxnoise is, and how fast its peers are."""
