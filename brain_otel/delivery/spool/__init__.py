"""The on-disk queue, and the shipper that sends what is in it."""
