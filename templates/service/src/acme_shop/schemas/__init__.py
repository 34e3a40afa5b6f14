"""What goes over the wire: one model for what comes in, one for changes, one for what goes out."""
