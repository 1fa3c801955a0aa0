"""Training the detector and running it over the catalogue; the network itself is in `models`."""
