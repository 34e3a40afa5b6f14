"""Live updates: what somebody says reaches everybody who listens."""
