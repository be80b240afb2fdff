"""The HTTP layer: how requests are read, admitted and answered."""
