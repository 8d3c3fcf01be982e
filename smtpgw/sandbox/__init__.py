"""An embedded Cakemail API with an inbox page: for a first run, for tests and for load tests. Loopback only."""
