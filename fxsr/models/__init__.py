"""Models: configuration, network and checkpoint, the manifest of exported models, and the bundled models.

`config` and `network` define the generator, `checkpoint` reads and writes its weights, `manifest` describes exported
files, `bundled` finds the models that come with the package, and `file` decides what kind of model file a path is.
"""
