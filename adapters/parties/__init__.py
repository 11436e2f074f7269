"""What runs at the other side of the backbone: at a LAS, a SIS, a municipality, a central service. What a supplier would import."""
