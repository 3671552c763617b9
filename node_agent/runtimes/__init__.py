"""How a replica's command comes to life: as a process of the node, or in a container."""
