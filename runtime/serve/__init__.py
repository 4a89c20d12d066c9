"""`fxsr serve`: upscaling over HTTP.

requests -> guard (limits) -> routes (`/v1/upscale`, `/v2`) -> scheduler (tiles of all requests in batches) -> sessions

`scheduler` knows nothing of HTTP; `app` puts the parts together and is the only one that does.
"""
