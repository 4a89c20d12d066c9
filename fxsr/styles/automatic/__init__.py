"""Style maps that are made from the photo alone: of its faces, text, focus and texture. `registry` lists them."""
