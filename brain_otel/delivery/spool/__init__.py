"""The on-disk queue and its shipper."""
