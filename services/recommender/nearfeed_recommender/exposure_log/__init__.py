"""The exposure log: what was served, what users did then, and which response an event is attributed to."""
