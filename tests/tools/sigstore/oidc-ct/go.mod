module tidewaiter.dev/tests/tools/oidc-ct

go 1.26.0
