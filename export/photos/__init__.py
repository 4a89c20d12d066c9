"""Photos that every export is verified on. CC0: "Chelsea" by Stéfan van der Walt, "Coffee" by Rachel Michetti."""
