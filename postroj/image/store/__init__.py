"""Where images and layers lie, and what is known of them."""
