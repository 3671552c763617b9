"""How the console writes days and instants (`FORMAT_MODULE_PATH`)."""
