"""How a replica's command comes to life: as a process of the node. (Containers come later.)"""
