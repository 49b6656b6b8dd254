"""Every rule, one module for each family of them."""
