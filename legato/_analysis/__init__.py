"""How much predictions depend on inputs; one training repeated under many seeds; statistics."""
