"""One repair in each module; each is safe to repeat, and two at once do no harm."""
