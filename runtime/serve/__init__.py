"""`fxsr serve`: upscaling over HTTP.

requests -> guard (limits) -> routes (`/v1/upscale`, `/v2`) -> scheduler (tiles of all requests in batches) -> sessions

`app` puts the parts together. `scheduler` knows nothing about HTTP.
"""
