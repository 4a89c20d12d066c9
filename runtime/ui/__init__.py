"""`fxsr ui`: a web page with the style dial, on which style maps are painted."""
