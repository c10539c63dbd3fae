"""The weekly upkeep of the memory: steps that each find their kind of garbage, and remove or repair it."""
