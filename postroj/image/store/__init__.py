"""Where images and layers are stored: files, records, locks."""
