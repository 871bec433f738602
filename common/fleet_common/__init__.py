"""What both sides of the fleet agree on: requests, events, errors, shares, plate formats and the broker."""
