"""Work in parts on several processes and machines: what it asks of them, and Ray, which has them."""
