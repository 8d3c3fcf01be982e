"""Control headers of Cakemail and of the relays that customers migrate from."""
