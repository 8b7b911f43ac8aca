"""A guest's network: pasta, name servers, published ports, proxies."""
