"""`fxsr ui`: a page on which one turns the dial and paints the style map."""
