"""Is anything worse than before?"""
